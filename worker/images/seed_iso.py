"""The NOCLOUD seed: a small ISO image that cloud-init in a guest finds by its label.

Its files are JSON, which is also YAML, so no YAML writer is needed.
"""

import io
import json
from pathlib import Path

from worker.contract import MachineSpec, SeedSpec
from worker.files import write_durably

NAMES = {"meta-data": "/METADATA.;1", "user-data": "/USERDATA.;1", "network-config": "/NETWORK.;1"}


def texts(seed: SeedSpec, machine: MachineSpec) -> dict[str, str]:
    """The files of a NOCLOUD seed by name."""
    found = {
        "meta-data": json.dumps({"instance-id": machine.id, "local-hostname": seed.hostname}),
        "user-data": seed.user_data or _user_data(seed),
    }
    nic = machine.nics[0] if machine.nics else None
    if nic is not None and nic.ipv4:
        address = {
            "match": {"macaddress": nic.mac},
            "addresses": [f"{nic.ipv4}/{nic.prefix}"],
            **({"routes": [{"to": "0.0.0.0/0", "via": nic.gateway}]} if nic.gateway else {}),
            **({"nameservers": {"addresses": [nic.nameserver]}} if nic.nameserver else {}),
        }
        found["network-config"] = json.dumps({"version": 2, "ethernets": {"eth0": address}})
    return found


def _user_data(seed: SeedSpec) -> str:
    root: dict[str, object] = {"name": "root", "ssh_authorized_keys": list(seed.ssh_keys)}
    if seed.password_hash:
        root.update(hashed_passwd=seed.password_hash, lock_passwd=False)
    values = {"hostname": seed.hostname, "disable_root": False, "users": [root]}
    return "#cloud-config\n" + json.dumps(values, indent=1) + "\n"


def write(path: Path, seed: SeedSpec, machine: MachineSpec) -> None:
    """Write the image. Raises OSError."""
    # imported here, so that only machines with this kind of seed load the library
    from pycdlib import PyCdlib

    iso = PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in texts(seed, machine).items():
        content = text.encode()
        iso.add_fp(io.BytesIO(content), len(content), NAMES[name], rr_name=name, joliet_path=f"/{name}")
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    write_durably(path, out.getvalue())
