"""The portal: what people, scripts and administrators meet."""
