"""Forms: the structure of submitted data. The domain validates the values."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from webxen.core.errors import UserError
from webxen.core.messages import translate

MONO = "form-control font-monospace"
#: value of the radio button for custom resources
OWN_SIZE = "own"

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise


def add_refusal(form: forms.Form, refused: UserError) -> None:
    """Add the refusal's messages to their fields; those without a field go to the top."""
    for field, sentences in refused.fields.items():
        form.add_error(
            field if field in form.fields else None, [translate(sentence) for sentence in sentences]
        )
    if not refused.fields:
        form.add_error(None, translate(refused.message))
    mark_wrong(form)


def mark_wrong(form: forms.Form) -> None:
    """Mark fields with errors as invalid, and focus the first of them."""
    is_first = True
    for name, field in form.fields.items():
        if name not in form.errors:
            continue
        attrs = field.widget.attrs
        if "is-invalid" not in attrs.get("class", ""):
            attrs["class"] = f"{attrs.get('class', '')} is-invalid".strip()
        attrs.pop("autofocus", None)
        if is_first and not field.widget.is_hidden:
            attrs["autofocus"] = True
            is_first = False


def number_field(label: "str | StrPromise", *, required: bool = False, **bounds: int) -> forms.IntegerField:
    """An integer field with the bounds as HTML attributes; the domain checks them."""
    attrs = {"class": "form-control", "inputmode": "numeric", **bounds}
    return forms.IntegerField(label=label, required=required, widget=forms.NumberInput(attrs=attrs))


class LimitsForm(forms.Form):
    """Limits of a project, set by staff."""

    machines = number_field(_("Machines"), required=True)
    vcpus = number_field(_("Processors"), required=True)
    memory_mib = number_field(_("Memory, MiB"), required=True)
    disk_gib = number_field(_("Disk, GiB"), required=True)
    running_vcpus = number_field(_("vCPUs of running machines"))
    running_memory_mib = number_field(_("Memory of running machines, MiB"))

    def numbers(self) -> dict[str, int]:
        """Return the values given; empty fields are omitted."""
        return {name: self.cleaned_data[name] for name in LimitsForm.base_fields if self._is_given(name)}

    def _is_given(self, name: str) -> bool:
        return self.cleaned_data.get(name) is not None


class MoreQuotaForm(LimitsForm):
    """A request for higher limits."""

    reason = forms.CharField(
        label=_("What it is for"),
        widget=forms.Textarea(attrs={"class": "form-control", "rows": 3, "maxlength": 2000}),
    )

    def __init__(self, *args: Any, limits: dict[str, int | None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, now in limits.items():
            if now is None:
                # no separate limit in this project
                del self.fields[name]
            else:
                self.fields[name].widget.attrs["min"] = now


class MachineForm(forms.Form):
    """Properties of a machine that can be changed without its host."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off", "spellcheck": "false"}),
    )
    description = forms.CharField(
        label=_("Description"),
        required=False,
        widget=forms.Textarea(attrs={"class": "form-control", "rows": 4}),
    )


class MoveForm(forms.Form):
    """Options of a migration."""

    METHODS = (
        ("auto", _("Automatic")),
        ("live", _("Only while it runs")),
        ("suspended", _("Suspended: saved, transferred, resumed")),
        ("cold", _("Switched off: copied, shut down, started there")),
    )
    MOST_RATE = 100_000

    host = forms.CharField(label=_("Where to"), required=False)
    method = forms.CharField(
        label=_("How"),
        required=False,
        widget=forms.Select(choices=METHODS, attrs={"class": "form-select"}),
    )
    rate = forms.IntegerField(
        label=_("Speed limit, MiB/s"),
        required=False,
        min_value=0,
        max_value=MOST_RATE,
        widget=forms.TextInput(
            attrs={
                "class": "form-control",
                "inputmode": "numeric",
                "autocomplete": "off",
                "placeholder": _("unlimited"),
            }
        ),
    )


class HostForm(forms.Form):
    """A host to be enrolled."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        help_text=_("The host's name in the DNS, short or with its domain, like xen1 or xen1.example.org."),
        widget=forms.TextInput(
            attrs={
                "class": "form-control",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    is_rejoin = forms.BooleanField(
        label=_("This host has joined before: issue a new key"),
        required=False,
        help_text=_("Its machines stay; it gets no jobs until you accept it again."),
        widget=forms.CheckboxInput(attrs={"class": "form-check-input"}),
    )


class NewMachineForm(forms.Form):
    """A request for a new machine."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        help_text=_("Lowercase letters, digits and hyphens. Also the machine's hostname."),
        widget=forms.TextInput(
            attrs={
                "class": "form-control",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
            }
        ),
    )
    project = forms.CharField(required=False)
    image = forms.CharField(required=False)
    size = forms.CharField(required=False)
    vcpus = number_field(_("vCPUs"), min=1)
    memory_mib = number_field(_("Memory, MiB"), min=64)
    disk_gib = number_field(_("Disk, GiB"), min=1)
    network = forms.CharField(required=False)
    ssh_keys = forms.CharField(
        label=_("SSH keys"),
        required=False,
        help_text=_("Public keys, one per line. They let you sign in as root over SSH."),
        widget=forms.Textarea(
            attrs={
                "class": MONO,
                "rows": 3,
                "spellcheck": "false",
                "placeholder": "ssh-ed25519 AAAA… you@laptop",
            }
        ),
    )
    password = forms.CharField(
        label=_("Password for root"),
        required=False,
        strip=False,
        help_text=_("For signing in on the console. Stored only as a hash."),
        # the page is not cached, and the input is kept if another field is wrong
        widget=forms.PasswordInput(
            render_value=True, attrs={"class": "form-control", "autocomplete": "new-password"}
        ),
    )
    user_data = forms.CharField(
        label=_("cloud-init user data"),
        required=False,
        strip=False,
        help_text=_("For images that run cloud-init."),
        widget=forms.Textarea(attrs={"class": MONO, "rows": 4, "spellcheck": "false"}),
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        help_text=_("What is it for? Administrators see this with your request."),
        widget=forms.Textarea(attrs={"class": "form-control", "rows": 2}),
    )
    is_closed_fine = forms.BooleanField(
        label=_("Create it although nobody can sign in"),
        required=False,
        widget=forms.CheckboxInput(attrs={"class": "form-check-input"}),
    )

    @property
    def asks_about_access(self) -> bool:
        """Whether the checkbox is shown that confirms a machine without any way to sign in."""
        return "is_closed_fine" in self.errors or bool(self["is_closed_fine"].value())

    def clean(self) -> dict[str, Any]:
        """Check what the form itself requires before the domain is called."""
        data = super().clean() or {}
        if not data.get("size"):
            self.add_error("size", _("Choose a size."))
        elif data["size"] == OWN_SIZE:
            for name in ("vcpus", "memory_mib", "disk_gib"):
                if data.get(name) is None and name not in self.errors:
                    self.add_error(name, _("Enter a whole number."))
        has_access = any(data.get(name, "").strip() for name in ("ssh_keys", "password", "user_data"))
        if not has_access and not data.get("is_closed_fine"):
            sentence = _(
                "Without an SSH key or a password nobody can sign in to this machine. Give one above, or "
                "select this box."
            )
            self.add_error("is_closed_fine", sentence)
        return data

    def wish(self) -> dict[str, Any]:
        """Return the fields under the names the domain uses; empty ones are omitted."""
        data = self.cleaned_data
        wish = {
            name: data[name] for name in ("name", "project", "image", "network", "reason") if data.get(name)
        }
        wish.setdefault("name", "")
        wish.setdefault("image", "")
        if data.get("size") == OWN_SIZE:
            figures = ("vcpus", "memory_mib", "disk_gib")
            wish |= {name: data[name] for name in figures if data.get(name) is not None}
        else:
            wish["size"] = data.get("size", "")
        if keys := [line.strip() for line in data.get("ssh_keys", "").splitlines() if line.strip()]:
            wish["ssh_keys"] = keys
        wish |= {name: data[name] for name in ("password", "user_data") if data.get(name)}
        return wish
