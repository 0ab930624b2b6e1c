"""Operations on many machines or whole hosts: evacuation, balancing, fencing, failover."""
