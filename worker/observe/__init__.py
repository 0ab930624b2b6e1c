"""Observations: what this host has (domains, pools, images, files), reported to the portal."""
