"""How a host comes to belong to the portal and leaves it: tokens, keys, broker accounts."""
