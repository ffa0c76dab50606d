"""API keys: made and revoked by the operator, asked for by the gateway, and limits for whoever has one."""
