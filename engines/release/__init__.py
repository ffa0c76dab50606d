"""From the authors' files to a weights folder of ours, and proof that such a folder is whole."""
