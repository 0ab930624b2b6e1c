"""How passwords are hashed: Argon2id with the figures that OWASP recommends.

Django's own take 100 MiB and eight threads for each sign-in: strangers who try passwords would then occupy
every processor and hundreds of MiB. These resist guessing as well (OWASP Password Storage Cheat Sheet).
"""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2(Argon2PasswordHasher):
    """m=47104 (46 MiB), t=1, p=1. Hashes of other figures are good, and made anew at the next sign-in."""

    memory_cost = 47104
    time_cost = 1
    parallelism = 1
