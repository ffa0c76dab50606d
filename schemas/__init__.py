"""The words everybody speaks: contracts, references, ports, errors, presets and the wire form.

Import from the submodules: `vogue.schemas.requests`, `.jobs`, `.stages`, `.ports`, `.errors`, `.presets`, `.wire`, `.tensors`.
"""
