"""The web pages: views, forms, templates and their texts."""
