"""Password hashing: Argon2id with the parameters that OWASP recommends.

Django's defaults take 100 MiB and eight threads per sign-in, so that password guessing would occupy all
processors and hundreds of MiB. These parameters resist guessing equally well (OWASP Password Storage Cheat
Sheet).
"""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2(Argon2PasswordHasher):
    """m=47104 (46 MiB), t=1, p=1. Hashes with other parameters stay valid and are renewed at the next
    sign-in.
    """

    memory_cost = 47104
    time_cost = 1
    parallelism = 1
