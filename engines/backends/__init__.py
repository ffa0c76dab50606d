"""One module for each library that can run a network; `vogue.engines.registry` chooses among them."""
