"""The console service: it holds each domain's console and publishes it in Redis."""
