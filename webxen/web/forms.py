"""Forms: the shape of what browsers send, nothing more. What is allowed, the domain says."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from webxen.core.errors import UserError
from webxen.web.said import said

MONO = "form-control font-monospace"
#: the radio button for own figures instead of a named size
OWN_SIZE = "own"


def add_refusal(form: forms.Form, refused: UserError) -> None:
    """Put each sentence beside its field; what belongs to no field goes on top."""
    for field, sentences in refused.fields.items():
        form.add_error(field if field in form.fields else None, [said(sentence) for sentence in sentences])
    if not refused.fields:
        form.add_error(None, said(refused))
    for name in form.errors:
        if name in form.fields:
            attrs = form.fields[name].widget.attrs
            attrs["class"] = f"{attrs.get('class', '')} is-invalid".strip()


class MachineForm(forms.Form):
    """What may be changed of a machine without its host."""

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


class HostForm(forms.Form):
    """A host that shall be let in."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        help_text=_("Lower-case letters, digits and hyphens: how the portal calls the host from now on."),
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
        label=_("It has joined before and shall get a new key"),
        required=False,
        help_text=_("Its machines stay; it gets no orders until you accept it again."),
        widget=forms.CheckboxInput(attrs={"class": "form-check-input"}),
    )


class NewMachineForm(forms.Form):
    """A wish as the browser sends it."""

    name = forms.CharField(
        label=_("Name"),
        required=False,
        help_text=_("Small letters, digits and single hyphens; it becomes the host name."),
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
    vcpus = forms.IntegerField(
        label=_("vCPUs"),
        required=False,
        widget=forms.NumberInput(attrs={"class": "form-control", "min": 1}),
    )
    memory_mib = forms.IntegerField(
        label=_("Memory, MiB"),
        required=False,
        widget=forms.NumberInput(attrs={"class": "form-control", "min": 1}),
    )
    disk_gib = forms.IntegerField(
        label=_("Disk, GiB"),
        required=False,
        widget=forms.NumberInput(attrs={"class": "form-control", "min": 1}),
    )
    network = forms.CharField(required=False)
    ssh_keys = forms.CharField(
        label=_("SSH keys"),
        required=False,
        help_text=_("Public keys, one a line. They open root's door."),
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
        help_text=_("For signing in on the console. Only its hash is kept."),
        # the page is never cached, and nothing typed is lost when another field is wrong
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
        help_text=_("What it is for. Staff reads it if the wish needs approval."),
        widget=forms.Textarea(attrs={"class": "form-control", "rows": 2}),
    )

    def wish(self) -> dict[str, Any]:
        """The fields under the names the domain reads; what was left empty is left out."""
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
