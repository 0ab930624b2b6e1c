"""User, Project (the tenant), Membership, ApiToken, TokenAddress. The rules are in operations and queries."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A user account. `is_staff`: manages hosts, decides requests, sees everything."""

    #: prefilled in the form for a new machine
    last_ssh_keys = models.TextField(blank=True)


class Project(models.Model):
    """Owner of machines and quota."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    created_at = models.DateTimeField()
    members = models.ManyToManyField(User, through="Membership", related_name="projects")

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's membership of a project."""

    class Role(models.TextChoices):
        OWNER = "OWNER"
        MEMBER = "MEMBER"

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    role = models.CharField(max_length=16, choices=Role, default=Role.MEMBER)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "project"), name="one_seat_per_project"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"


class ApiToken(models.Model):
    """An API bearer token. Only its hash is stored; the secret `wx_…` is shown once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    #: SHA-256 of the secret in hex: the secret has 256 bits, so a slow hash would add no security
    secret_hash = models.CharField(max_length=64, unique=True)
    #: empty: everything its user may do; otherwise names of operations.SCOPES
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_address = models.CharField(max_length=45, blank=True, default="", db_default="")
    #: the token this one was created with, if any; it expires no later than its parent
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="children")

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.name


class TokenAddress(models.Model):
    """An address a token was used from; the first use from each is in the audit."""

    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="addresses")
    address = models.CharField(max_length=45)
    first_used_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("token", "address"), name="an_address_is_new_to_a_token_once"),
        )

    def __str__(self) -> str:
        return self.address
