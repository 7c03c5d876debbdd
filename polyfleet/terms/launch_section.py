"""The spec's section `launch`: where a plan's lines run, and what runs already."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Usd = Annotated[float, Field(ge=0, le=1e6)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Namespace = Annotated[str, Field(pattern=rf"^({_LABEL})?$")]
SecretName = Annotated[str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
On = Literal["sky", "kubernetes"]
Speaks = Literal["vllm", "llama.cpp", "openai"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlaceChoice(_Part):
    """Where the lines of a provider (and region) run."""

    provider: str | None = Field(None, description="of the plan's line; default: any")
    region: str | None = Field(None, description="of the plan's line; default: any")
    on: On
    context: str = Field("", description="of the kubeconfig; default: its current one")
    namespace: Namespace = Field("", description="default: the context's own")

    @model_validator(mode="after")
    def _context_is_kubernetes(self) -> Self:
        if self.on != "kubernetes" and (self.context or self.namespace):
            raise ValueError("`context` and `namespace` go with `on: kubernetes`")
        return self


class OwnEngine(_Part):
    """How a workload's replicas are started, in place of what the recipe says."""

    image: str | None = Field(None, description="default: the recipe's")
    command: str | None = Field(None, description="with {port}, perhaps {names}; default: the recipe's")
    speaks: Speaks | None = Field(None, description="how the gate talks to it; default: as the recipe's engine does")
    model: str | None = Field(None, description="the name that it knows the model by; default: as the client asked")
    health: Annotated[str, Field(pattern=r"^/[!-~]*$")] | None = Field(None, description="path that answers when ready")


class EndpointChoice(_Part):
    """What runs already: a URL that is a route. Under the name of a provider whose tokens the plan buys, it is that
    line's; any other name needs `workload`."""

    workload: str | None = None
    url: str | None = Field(None, description="with its path, as https://host/v1; default: the known one")
    key_env: Name | None = Field(None, description="environment variable that holds its key")
    key_file: str | None = Field(None, description="file that holds its key, relative to the spec")
    model: str | None = Field(None, description="the name that it knows the model by; default: as the client asked")
    speaks: Speaks = Field("openai", description="how the gate talks to it")
    chip: str = Field("", description="that it runs on, where you know")
    region: str = "*"
    slots: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="requests that it takes at once")
    context: Annotated[int, Field(ge=16, le=10_000_000)] | None = Field(None, description="tokens of one request")
    usd_per_hour: Usd = 0.0
    usd_per_m_input: Usd | None = Field(None, description="of a million input tokens; default: the plan's price")
    usd_per_m_output: Usd | None = Field(None, description="of a million output tokens; default: the plan's price")
    share: Annotated[float, Field(ge=0)] = Field(1.0, description="of traffic, beside the workload's other replicas")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key_env and self.key_file:
            raise ValueError("give either `key_env` or `key_file`, one of them")
        return self


class Launch(_Part):
    """Where and how the plan's lines run."""

    on: On | None = Field(None, description="where lines run that no place names; `up --on` overrides")
    places: tuple[PlaceChoice, ...] = Field((), description="the first that fits a line is taken")
    window: str | None = Field(None, description="of the plan, by name or number; default: the one that costs most")
    weights: dict[str, str] = Field(default_factory=dict, description="WORKLOAD or WORKLOAD/PRECISION -> checkpoint")
    weights_from: str = Field("hub", description="hub, pvc:NAME, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, image:/FOLDER")
    secret: SecretName = Field("polyfleet", description="the Kubernetes secret that holds HF_TOKEN and VLLM_API_KEY")
    engines: dict[str, OwnEngine] = Field(default_factory=dict, description="workload -> how its replicas are started")
    endpoints: dict[str, EndpointChoice] = Field(default_factory=dict, description="name -> what runs already")
