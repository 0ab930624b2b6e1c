"""URL routes of the API."""

from django.urls import path, re_path, register_converter

from webxen.api import (
    audit,
    catalogue,
    evacuations,
    hosts,
    jobs,
    known_domains,
    machines,
    moves,
    people,
    quotas,
    requests,
    restores,
    schema,
    version,
)
from webxen.api.converters import AnyCaseUuid
from webxen.api.not_found import Nowhere
from webxen.core import converters  # noqa: F401 - registers <host:…>
from worker import contract

register_converter(AnyCaseUuid, "id")

app_name = "api"

urlpatterns = [
    path("me/", people.Me.as_view(), name="me"),
    path("tokens/", people.Tokens.as_view(), name="tokens"),
    path("tokens/<id:token_id>/", people.Token.as_view(), name="token"),
    path("images/", catalogue.Images.as_view(), name="images"),
    path("sizes/", catalogue.Sizes.as_view(), name="sizes"),
    path("networks/", catalogue.Networks.as_view(), name="networks"),
    path("pools/", catalogue.Pools.as_view(), name="pools"),
    path("hosts/", hosts.Hosts.as_view(), name="hosts"),
    path("hosts/join/", hosts.Join.as_view(), name="host-join"),
    path("hosts/rotate-key/", hosts.RotateKey.as_view(), name="host-rotate-key"),
    path("hosts/refresh/", hosts.Refresh.as_view(), name="host-refresh"),
    path("hosts/<host:host>/", hosts.Host.as_view(), name="host"),
    path("hosts/<host:host>/accept/", hosts.Accept.as_view(), name="host-accept"),
    path("hosts/<host:host>/drain/", evacuations.Drain.as_view(), name="host-drain"),
    path("hosts/<host:host>/undrain/", evacuations.Undrain.as_view(), name="host-undrain"),
    path("hosts/<host:host>/activate/", evacuations.Activate.as_view(), name="host-activate"),
    path("hosts/<host:host>/restart-elsewhere/", evacuations.Rescue.as_view(), name="host-rescue"),
    path("hosts/<host:host>/fence/", evacuations.Fence.as_view(), name="host-fence"),
    path("hosts/<host:host>/known-domains/", known_domains.KnownDomains.as_view(), name="known-domains"),
    path(
        "hosts/<host:host>/known-domains/<id:uuid>/",
        known_domains.KnownDomain.as_view(),
        name="known-domain",
    ),
    path("evacuations/<id:evacuation_id>/", evacuations.OneEvacuation.as_view(), name="evacuation"),
    path("balance/", evacuations.Balance.as_view(), name="balance"),
    path("hosts/<host:host>/reject/", hosts.Reject.as_view(), name="host-reject"),
    path("restore/", restores.Restore.as_view(), name="restore"),
    path("restore/looked/", restores.Looked.as_view(), name="restore-looked"),
    path("requests/", requests.Requests.as_view(), name="requests"),
    path("requests/<id:request_id>/", requests.OneRequest.as_view(), name="request"),
    path("requests/<id:request_id>/approve/", requests.Approve.as_view(), name="approve"),
    path("requests/<id:request_id>/reject/", requests.Reject.as_view(), name="reject"),
    path("requests/<id:request_id>/withdraw/", requests.Withdraw.as_view(), name="withdraw"),
    path("quotas/", quotas.Quotas.as_view(), name="quotas"),
    path("quotas/<id:project_id>/", quotas.OneQuota.as_view(), name="quota"),
    path("quota-requests/", quotas.QuotaRequests.as_view(), name="quota-requests"),
    path("quota-requests/<id:request_id>/", quotas.OneQuotaRequest.as_view(), name="quota-request"),
    path("quota-requests/<id:request_id>/approve/", quotas.ApproveQuota.as_view(), name="approve-quota"),
    path("quota-requests/<id:request_id>/reject/", quotas.RejectQuota.as_view(), name="reject-quota"),
    path("quota-requests/<id:request_id>/withdraw/", quotas.WithdrawQuota.as_view(), name="withdraw-quota"),
    path("machines/", machines.Machines.as_view(), name="machines"),
    path("machines/<id:machine_id>/", machines.OneMachine.as_view(), name="machine"),
    *(
        path(f"machines/<id:machine_id>/{action}/", machines.action_of(verb).as_view(), name=action)
        for action, verb in contract.ACTIONS.items()
    ),
    path("machines/<id:machine_id>/migrate/", moves.Migrate.as_view(), name="migrate"),
    path("machines/<id:machine_id>/config/", machines.Config.as_view(), name="config"),
    path("machines/<id:machine_id>/console/", machines.Console.as_view(), name="console"),
    path("jobs/", jobs.Jobs.as_view(), name="jobs"),
    path("jobs/<id:job_id>/", jobs.OneJob.as_view(), name="job"),
    path("jobs/<id:job_id>/cancel/", jobs.CancelJob.as_view(), name="job-cancel"),
    path(
        "jobs/<id:job_id>/discard-source-disks/",
        moves.DiscardSourceDisks.as_view(),
        name="job-discard-source-disks",
    ),
    path("jobs/<id:job_id>/recheck/", moves.Recheck.as_view(), name="job-recheck"),
    path("jobs/<id:job_id>/events/", jobs.JobEvents.as_view(), name="job-events"),
    path("audit/", audit.Audit.as_view(), name="audit"),
    path("version/", version.Version.as_view(), name="version"),
    path("schema/", schema.Document.as_view(), name="schema"),
    path("docs/", schema.Reference.as_view(), name="docs"),
    re_path(r"^(?P<rest>[\s\S]*)$", Nowhere.as_view(), name="nowhere"),
]
