"""The trusted half of a migration's transport: what passes is read and held back here, by root."""
