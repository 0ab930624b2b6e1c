"""Infrastructure shared by all packages: audit, errors, ASGI layers, logging. Imports no other package."""
