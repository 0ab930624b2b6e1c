"""The whole life cycle under faults, in one process: real portal, real worker, an xl and a wire in memory."""
