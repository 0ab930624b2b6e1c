"""The REST API: views, serializers, authentication, errors."""
