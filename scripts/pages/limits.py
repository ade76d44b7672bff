"""What of the reference's surface is there, but does something else on machines of your own, or less.

By the name of a class, member, function or command; a note on a class says what all of it is like.
"""
from __future__ import annotations

LIMITS = {
    # functions and classes
    "modal.App.function": "`cloud`, `region`, `routing_region` are checked and have no effect: there is one place",
    "modal.App.cls": "as `App.function`",
    "modal.App.registered_web_endpoints": "deprecated; always empty",
    "modal.Function.keep_warm": "removed; raises `DeprecationError` naming `update_autoscaler`",
    "modal.Function.lookup": "removed; raises `DeprecationError` naming `from_name`",
    "modal.Function.web_url": "removed; raises `DeprecationError` naming `get_web_url`",
    "modal.Function.stats": "`container=` is refused: figures are kept by function",
    "modal.Function.metrics": "`current()` and `fetch()`",
    "modal.Cls.lookup": "removed; raises `DeprecationError` naming `from_name`",
    "modal.SchedulerPlacement": "checked, without effect: no regions, zones or spot prices",
    "modal.web_endpoint": "removed; raises `DeprecationError` naming `fastapi_endpoint`",
    "modal.interact": "in `windlass run -i`",
    "modal.clustered": "all containers on one node; `rdma=True` is refused",
    "modal.experimental.clustered": "as `modal.clustered`; `broadcast=False` is refused",
    "modal.Cluster.container_ips": "`family=\"ipv4\"` is refused: containers reach each other by IPv6",
    "modal.Server.metrics": "`current()` and `fetch()`",
    "modal.Server.sessions": "`UnimplementedError`: `Modal-Session-ID` keeps a client at one container",
    "modal.sessioned": "`UnimplementedError`: `Modal-Session-ID` keeps a client at one container",
    # clients
    "modal.Client.from_credentials": "`client=` of other objects is accepted, and the process's own is used",
    "modal.Client.from_oauth_credentials": "`UnimplementedError`: your own platform gives tokens itself",
    # images
    "modal.Image.copy_local_file": "removed; raises `DeprecationError` naming `add_local_file`",
    "modal.Image.copy_local_dir": "removed; raises `DeprecationError` naming `add_local_dir`",
    "modal.Image.copy_mount": "removed; raises `DeprecationError` naming `add_local_*`",
    # storage
    "modal.NetworkFileSystem": "deprecated, works, warns; a folder on the node",
    "modal.CloudBucketMount": "needs rclone and FUSE on the node; `oidc_auth_role_arn` is refused",
    # sandboxes
    "modal.file_io.FileIO": "compatibility; new programs use `sandbox.filesystem`",
    "modal.file_io.FileWatchEvent": "as `FileIO`",
    # accounts
    "modal.Environment.billing": "`report()` from usage accounting: core-, GiB- and GPU-seconds, no prices",
    "modal.Workspace.billing": "as `Environment.billing`, of all environments",
    "modal.gpu.parse_gpu_config": "removed; raises `DeprecationError` with the string to use",
    **{
        f"modal.gpu.{kind}": "removed; raises `DeprecationError` with the string to use"
        for kind in ("A100", "A10G", "Any", "H100", "L4", "L40S", "T4")
    },
    # commands
    "nfs": "deprecated, hidden, works",
}

DASHBOARD = "`UnimplementedError`: there is no dashboard"
"""The note of every ``get_dashboard_url``."""
