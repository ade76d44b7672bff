"""The table of methods: name, shape of the request, shape of the answer (or of each item of a stream).

Only the server imports this (it validates with it); senders need no shapes at run time.
``kind``: "request", "stream" or "notice". ``roles``: who may call it. Methods under "to" go from the server
to that role.
"""
from __future__ import annotations

from typing import Any, NamedTuple

from windlass.wire.messages import (
    apps,
    blobs,
    calls,
    common,
    containers,
    functions,
    images,
    secrets,
    terminals,
    work,
    workers,
)

USER = frozenset({"user"})
CALLER = frozenset({"user", "container"})
RUNNER = frozenset({"runner"})
CONTAINER = frozenset({"container"})
WORKER = frozenset({"worker"})
ALL = frozenset({"user", "container", "runner", "worker"})


class Method(NamedTuple):
    kind: str
    roles: frozenset[str]
    request: Any
    answer: Any


METHODS: dict[str, Method] = {
    # apps
    "app.create": Method("request", USER, apps.AppCreate, apps.AppInfo),
    "app.publish": Method("request", USER, apps.AppPublish, common.Empty),
    "app.heartbeat": Method("request", USER, apps.AppRef, common.Empty),
    "app.stop": Method("request", USER, apps.AppStop, common.Empty),
    "app.get": Method("request", CALLER, apps.AppLookup, apps.AppInfo),
    "app.list": Method("request", USER, apps.AppList, apps.AppListReply),
    "app.logs": Method("stream", USER, apps.LogQuery, apps.LogBatch),
    # functions
    "function.create": Method("request", USER, functions.FunctionCreate, functions.FunctionInfo),
    "function.get": Method("request", CALLER, functions.FunctionGet, functions.FunctionInfo),
    "function.bind": Method("request", CALLER, functions.FunctionBind, functions.FunctionInfo),
    "function.stats": Method("request", CALLER, functions.FunctionRef, functions.FunctionStats),
    "function.autoscaler": Method("request", CALLER, functions.AutoscalerUpdate, functions.AutoscalerSpec),
    # calls; "call.run" is call.create and call.outputs in one round trip
    "call.create": Method("request", CALLER, calls.CallCreate, common.Empty),
    "call.run": Method("stream", CALLER, calls.CallCreate, calls.OutputBatch),
    "call.put": Method("request", CALLER, calls.CallPut, common.Empty),
    "call.outputs": Method("stream", CALLER, calls.OutputQuery, calls.OutputBatch),
    "call.cancel": Method("request", CALLER, calls.CallCancel, common.Empty),
    "call.get": Method("request", CALLER, calls.CallRef, calls.CallInfo),
    "call.graph": Method("request", CALLER, calls.CallRef, calls.CallGraph),
    # images, blobs, secrets
    "image.build": Method("stream", USER, images.ImageBuild, images.BuildEvent),
    "blob.missing": Method("request", CALLER | WORKER, blobs.BlobQuery, blobs.BlobMissing),
    "blob.put": Method("request", CALLER | RUNNER, blobs.BlobPut, common.Empty),
    "blob.get": Method("stream", ALL, blobs.BlobGet, blobs.BlobChunk),
    "secret.create": Method("request", CALLER, secrets.SecretCreate, secrets.SecretRef),
    # containers, for people
    "container.list": Method("request", USER, containers.ContainerList, containers.ContainerListReply),
    "container.stop": Method("request", USER, containers.ContainerStop, common.Empty),
    "container.exec": Method("stream", USER, containers.ContainerExec, containers.ExecOutput),
    "container.exec_input": Method("request", USER, containers.ExecInput, common.Empty),
    "node.list": Method("request", USER, common.Empty, workers.NodeList),
    # a user's terminal, lent to containers
    "terminal.attach": Method("stream", USER, terminals.TerminalAttach, terminals.TerminalEvent),
    "terminal.input": Method("request", USER, terminals.TerminalInput, common.Empty),
    "terminal.open": Method("stream", CONTAINER, terminals.TerminalOpen, terminals.TerminalKeys),
    "terminal.output": Method("request", CONTAINER, terminals.TerminalOutput, common.Empty),
    # runners
    "runner.ready": Method("request", RUNNER, work.RunnerReady, work.RunnerReadyReply),
    "runner.outputs": Method("request", RUNNER, work.RunnerOutputs, common.Empty),
    "runner.release": Method("request", RUNNER, work.RunnerRelease, common.Empty),
    "runner.beat": Method("request", RUNNER, work.RunnerBeat, common.Empty),
    "runner.failed": Method("request", RUNNER, work.RunnerFailed, common.Empty),
    # workers
    "worker.hello": Method("request", WORKER, workers.WorkerHello, workers.ContainerLogs),
    "worker.report": Method("request", WORKER, workers.WorkerReport, common.Empty),
    "worker.logs": Method("request", WORKER, workers.WorkerLogs, common.Empty),
    "container.plan": Method("request", WORKER, containers.ContainerRef, containers.ContainerPlan),
    "build.plan": Method("request", WORKER, workers.BuildRef, workers.BuildPlan),
    "build.log": Method("request", WORKER, workers.BuildLog, common.Empty),
    "build.result": Method("request", WORKER, workers.BuildResult, common.Empty),
}

TO: dict[str, dict[str, Method]] = {
    "runner": {
        "runner.lease": Method("notice", frozenset(), work.RunnerLease, None),
        "runner.cancel": Method("notice", frozenset(), work.RunnerCancel, None),
        "runner.stop": Method("notice", frozenset(), work.RunnerStop, None),
    },
    "worker": {
        "worker.want": Method("notice", frozenset(), workers.WorkerWant, None),
        "worker.templates": Method("notice", frozenset(), workers.WorkerTemplates, None),
        "exec.start": Method("stream", frozenset(), containers.ContainerExec, containers.ExecOutput),
        "exec.input": Method("request", frozenset(), containers.ExecInput, common.Empty),
    },
}
