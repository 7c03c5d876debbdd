"""EC2 on loopback: moto's EC2, IAM and STS, faults on demand, and a real machine (namespaces, sshd) for each instance.

python rigs/sky/ec2.py FOLDER PORT

Beside AWS's own API: `POST /_faults` with [{"Action", "match": {parameter: pattern}, "code", "message", "status",
"count"}], `GET /_instances` (what the account holds, whoever made it), `POST /_reclaim` with an instance's id,
`GET /_calls`.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

import moto.server
import yaml
from moto.ec2 import models
from moto.ec2.models import elastic_network_interfaces, instances
from moto.iam import policy_validation
from werkzeug.serving import run_simple

HERE = Path(__file__).parent
FOLDER, PORT = Path(sys.argv[1]).resolve(), int(sys.argv[2])
REGIONS = ("us-east-1", "us-west-2")
_KEPT = ("Action", "InstanceType", "Placement.AvailabilityZone", "InstanceMarketOptions.MarketType")
_faults: list[dict[str, Any]] = []
_calls: list[dict[str, str]] = []
_free = [f"10.77.{n}.2" for n in range(10, 90)]
_machines: dict[str, str] = {}
_lock = threading.Lock()


def _machine(verb: str, address: str, *more: str) -> None:
    subprocess.run([HERE / "machine.sh", verb, FOLDER, address.split(".")[2], *more], check=False)


def _give_address() -> str:
    with _lock:
        return _free.pop(0)


def _begin(instance: Any) -> None:
    """Boot what moto has just written down, with the keys that its cloud-config names."""
    address = _machines[instance.id] = instance.public_ip
    keys = FOLDER / "run" / f"{instance.id}.pub"
    told = [u for u in _cloud_config(instance.user_data).get("users", []) if isinstance(u, dict)]
    keys.write_text("".join(f"{key.strip()}\n" for user in told for key in user.get("ssh_authorized_keys", [])))
    threading.Thread(target=_machine, args=("up", address, str(keys))).start()


def _cloud_config(user_data: Any) -> dict[str, Any]:
    told = user_data[0] if isinstance(user_data, list) else user_data or ""
    text = str(told.decode()) if hasattr(told, "decode") else told
    if text and "cloud-config" not in text:
        text = base64.b64decode(text).decode()
    read = yaml.safe_load(text.split("#cloud-config", 1)[-1]) if text else {}
    return read if isinstance(read, dict) else {}


def _end(instance: Any) -> None:
    address = _machines.pop(instance.id, None)
    if address:
        _machine("down", address)
        with _lock:
            _free.append(address)


def _wrap(cls: type, name: str, after: Callable[[Any], None]) -> None:
    before = getattr(cls, name)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = before(self, *args, **kwargs)
        after(self)
        return made

    setattr(cls, name, wrapped)


def _backends() -> Iterable[tuple[str, Any]]:
    for account in list(models.ec2_backends.values()):
        yield from list(account.items())


def _held() -> list[dict[str, Any]]:
    """The machines and firewalls of the account; no volumes, since moto forgets that they go with their machine."""
    found: list[dict[str, Any]] = []
    for region, backend in _backends():
        found += [
            {
                "kind": "instance", "id": each.id, "region": region, "state": each._state.name,
                "type": each.instance_type, "spot": each.lifecycle == "spot", "ip": each.public_ip,
                "tags": {tag["key"]: tag["value"] for tag in each.get_tags()},
            }
            for each in backend.all_instances()
        ]  # fmt: skip
        found += [
            {"kind": "firewall", "id": group.name, "region": region}
            for groups in list(backend.groups.values()) for group in list(groups.values()) if group.name != "default"
        ]  # fmt: skip
    return found


def _reclaim(instance_id: str) -> None:
    for _, backend in _backends():
        if any(each.id == instance_id for each in backend.all_instances()):
            backend.terminate_instances([instance_id])


def _own(path: str, body: bytes) -> Any:
    if path == "/_faults":
        _faults[:] = json.loads(body)
    elif path == "/_reclaim":
        _reclaim(body.decode())
    elif path == "/_instances":
        return _held()
    elif path == "/_calls":
        return _calls
    return {}


def _fault_for(asked: dict[str, str]) -> dict[str, Any] | None:
    for fault in _faults:
        matches = all(re.fullmatch(v, asked.get(k, "")) for k, v in fault.get("match", {}).items())
        if fault["count"] > 0 and re.fullmatch(fault["Action"], asked["Action"]) and matches:
            fault["count"] -= 1
            return fault
    return None


def _app(backend: Any) -> Any:
    def answer(environ: dict[str, Any], start: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if environ["PATH_INFO"].startswith("/_"):
            told = json.dumps(_own(environ["PATH_INFO"], body)).encode()
            start("200 OK", [("Content-Type", "application/json")])
            return [told]
        asked = {k: v[0] for k, v in urllib.parse.parse_qs(body.decode("latin1")).items()}
        if "Action" in asked:
            _calls.append({name: asked[name] for name in _KEPT if name in asked})
            if fault := _fault_for(asked):
                start(fault.get("status", "400 Bad Request"), [("Content-Type", "text/xml")])
                errors = f"<Error><Code>{fault['code']}</Code><Message>{fault['message']}</Message></Error>"
                return [f"<Response><Errors>{errors}</Errors><RequestID>x</RequestID></Response>".encode()]
        return backend(environ, start)

    return answer


def _furnish() -> None:
    """What a used account has and moto's lacks: a gateway and a public route for the default network, and SkyPilot's
    role (without it the first launch waits half a minute for IAM)."""
    import boto3

    def client(name: str, region: str = REGIONS[0]) -> Any:
        return boto3.client(
            name, region_name=region, endpoint_url=f"http://127.0.0.1:{PORT}", aws_access_key_id="rig",
            aws_secret_access_key="rig",
        )  # fmt: skip

    for region in REGIONS:
        ec2 = client("ec2", region)
        vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        for subnet in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]:
            ec2.associate_route_table(RouteTableId=table, SubnetId=subnet["SubnetId"])
    iam = client("iam")
    iam.create_instance_profile(InstanceProfileName="skypilot-v1")
    iam.create_role(RoleName="skypilot-v1", AssumeRolePolicyDocument="{}")
    iam.add_role_to_instance_profile(InstanceProfileName="skypilot-v1", RoleName="skypilot-v1")
    print("ready", flush=True)


def main() -> None:
    elastic_network_interfaces.random_public_ip = _give_address
    _wrap(instances.Instance, "__init__", _begin)
    _wrap(instances.Instance, "terminate", _end)
    for name in ("IAMPolicyDocumentValidator", "IAMTrustPolicyDocumentValidator"):
        # AWS itself takes SkyPilot's policy, which says no version; moto does not
        getattr(policy_validation, name).validate = lambda _: None
    threading.Timer(1.0, _furnish).start()
    backend = moto.server.DomainDispatcherApplication(moto.server.create_backend_app)
    run_simple("127.0.0.1", PORT, _app(backend), threaded=True)


if __name__ == "__main__":
    main()
