"""Routes of the pages."""

from django.urls import URLPattern, URLResolver, include, path

from webxen.web import catalogue, home, hosts, jobs, joining, machines, moves, new_machine, quota, requests

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("machines/", machines.machines, name="machines"),
    path("machines/new/", new_machine.new_machine, name="new_machine"),
    path("machines/new/outlook/", new_machine.new_machine_outlook, name="new_machine_outlook"),
    path("machines/<uuid:id>/", machines.machine, name="machine"),
    path("machines/<uuid:id>/live/", machines.machine_live, name="machine_live"),
    path("machines/<uuid:id>/console/", machines.machine_console, name="machine_console"),
    path("machines/<uuid:id>/jobs/", machines.machine_jobs, name="machine_jobs"),
    path("machines/<uuid:id>/settings/", machines.machine_settings, name="machine_settings"),
    path("machines/<uuid:id>/move/", moves.machine_move, name="machine_move"),
    path("machines/<uuid:id>/delete/", machines.machine_delete, name="machine_delete"),
    path("machines/<uuid:id>/actions/<slug:action>/", machines.machine_act, name="machine_act"),
    path("quota/", quota.quota, name="quota"),
    path("quota/<uuid:id>/ask/", quota.project_ask, name="project_ask"),
    path("quota/<uuid:id>/limits/", quota.project_limits, name="project_limits"),
    path("quota/requests/<uuid:id>/withdraw/", quota.more_withdraw, name="more_withdraw"),
    path("quota/requests/<uuid:id>/approve/", quota.more_approve, name="more_approve"),
    path("quota/requests/<uuid:id>/reject/", quota.more_reject, name="more_reject"),
    path("requests/", requests.requests, name="requests"),
    path("requests/<uuid:id>/", requests.request, name="request"),
    path("requests/<uuid:id>/withdraw/", requests.request_withdraw, name="request_withdraw"),
    path("requests/<uuid:id>/approve/", requests.request_approve, name="request_approve"),
    path("requests/<uuid:id>/reject/", requests.request_reject, name="request_reject"),
    path("approvals/", requests.approvals, name="approvals"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/<uuid:id>/", jobs.job, name="job"),
    path("jobs/<uuid:id>/cancel/", jobs.job_cancel, name="job_cancel"),
    path("jobs/<uuid:id>/look-again/", jobs.job_look_again, name="job_look_again"),
    path("jobs/<uuid:id>/live/", jobs.job_live, name="job_live"),
    path("hosts/", hosts.hosts, name="hosts"),
    # no host's own page can have this address
    path("add-host/", joining.add_host, name="add_host"),
    path("hosts/<slug:name>/", hosts.host, name="host"),
    path("hosts/<slug:name>/accept/", joining.host_accept, name="host_accept"),
    path("hosts/<slug:name>/reject/", joining.host_reject, name="host_reject"),
    path("hosts/<slug:name>/remove/", joining.host_remove, name="host_remove"),
    path("images/", catalogue.images, name="images"),
    path("networks/", catalogue.networks, name="networks"),
    path("audit/", catalogue.audit, name="audit"),
]
