"""Many machines or whole hosts at once: evacuation, balancing, fencing, failover."""
