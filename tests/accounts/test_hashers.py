"""What a password's hash costs, and what becomes of those made with other figures."""

from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.test import override_settings

from webxen.accounts.hashers import Argon2

OURS = override_settings(PASSWORD_HASHERS=["webxen.accounts.hashers.Argon2"])


@OURS
def test_a_hash_takes_one_thread_and_46_mib():
    assert "$m=47104,t=1,p=1$" in make_password("secret")


@OURS
def test_one_made_with_other_figures_is_good_and_made_anew():
    old = Argon2PasswordHasher().encode("secret", "somesalt" * 2)
    kept = []
    assert check_password("secret", old, setter=kept.append)
    assert kept == ["secret"]
    assert Argon2().must_update(old)
