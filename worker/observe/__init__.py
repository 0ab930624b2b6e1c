"""What this host has, as it is told to the portal: domains, pools, contents."""
