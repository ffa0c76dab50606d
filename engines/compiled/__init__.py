"""Networks as graphs: exported, checked, compiled, kept, and run behind the engine ports."""
