"""Operations on one domain: create, boot, stop and delete it; its files, leases and readiness."""
