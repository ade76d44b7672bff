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
    built,
    calls,
    collections,
    common,
    containers,
    deployments,
    dicts,
    environments,
    functions,
    images,
    nfs,
    queues,
    records,
    sandboxes,
    schedules,
    secrets,
    terminals,
    upkeep,
    volumes,
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
    "app.list": Method("request", CALLER, apps.AppList, apps.AppListReply),
    "app.logs": Method("stream", USER, apps.LogQuery, apps.LogBatch),
    "app.deploy": Method("request", USER, deployments.AppDeploy, deployments.AppDeployed),
    "app.return": Method("request", USER, deployments.AppReturn, deployments.AppDeployed),
    "app.history": Method("request", USER, apps.AppRef, deployments.AppHistory),
    "app.tags": Method("request", USER, deployments.AppTags, deployments.Tags),
    # environments
    "environment.create": Method("request", USER, environments.EnvironmentRef, environments.EnvironmentInfo),
    "environment.list": Method("request", CALLER, common.Empty, environments.EnvironmentList),
    "environment.update": Method("request", USER, environments.EnvironmentUpdate, environments.EnvironmentInfo),
    "environment.delete": Method("request", USER, environments.EnvironmentRef, common.Empty),
    # functions
    "function.create": Method("request", USER, functions.FunctionCreate, functions.FunctionInfo),
    "function.get": Method("request", CALLER, functions.FunctionGet, functions.FunctionInfo),
    "function.bind": Method("request", CALLER, functions.FunctionBind, functions.FunctionInfo),
    "schedule.list": Method("request", USER, schedules.ScheduleList, schedules.ScheduleListReply),
    "schedule.fire": Method("request", USER, schedules.ScheduleFire, common.Empty),
    "function.stats": Method("request", CALLER, functions.FunctionRef, functions.FunctionStats),
    "function.autoscaler": Method("request", CALLER, functions.AutoscalerUpdate, functions.AutoscalerSpec),
    "function.info": Method("request", USER, functions.FunctionRef, records.FunctionDetail),
    "function.figures": Method("request", USER, records.FiguresQuery, records.Figures),
    # calls; "call.run" is call.create and call.outputs in one round trip
    "call.create": Method("request", CALLER, calls.CallCreate, common.Empty),
    "call.run": Method("stream", CALLER, calls.CallCreate, calls.OutputBatch),
    "call.put": Method("request", CALLER, calls.CallPut, common.Empty),
    "call.outputs": Method("stream", CALLER, calls.OutputQuery, calls.OutputBatch),
    "call.cancel": Method("request", CALLER, calls.CallCancel, common.Empty),
    "call.get": Method("request", CALLER, calls.CallRef, calls.CallInfo),
    "call.graph": Method("request", CALLER, calls.CallRef, calls.CallGraph),
    "call.records": Method("request", USER, records.RecordQuery, records.RecordReply),
    "call.input": Method("request", USER, records.InputQuery, records.RecordedInput),
    # images, blobs, secrets
    "image.build": Method("stream", USER, images.ImageBuild, images.BuildEvent),
    "image.get": Method("request", CALLER, built.ImageGet, built.ImageFound),
    "image.publish": Method("request", USER, built.ImagePublish, common.Empty),
    "image.list": Method("request", USER, built.ImageList, built.ImageListReply),
    "image.info": Method("request", USER, built.ImageGet, built.ImageInfo),
    "image.logs": Method("stream", USER, built.ImageLogs, built.ImageLogEvent),
    "image.contents": Method("request", USER, images.ImageQuery, images.ImageContents),
    "image.prune": Method("request", USER, upkeep.ImagePrune, upkeep.ImagePruned),
    "image.fsck": Method("stream", USER, upkeep.ImageFsck, upkeep.FsckEvent),
    "image.export": Method("stream", USER, upkeep.ImageExport, upkeep.ExportEvent),
    "blob.missing": Method("request", CALLER | WORKER, blobs.BlobQuery, blobs.BlobMissing),
    "blob.put": Method("request", CALLER | RUNNER, blobs.BlobPut, common.Empty),
    "blob.get": Method("stream", ALL, blobs.BlobGet, blobs.BlobChunk),
    "secret.create": Method("request", CALLER, secrets.SecretCreate, secrets.SecretRef),
    "secret.store": Method("request", CALLER, secrets.SecretStore, secrets.SecretRef),
    "secret.get": Method("request", CALLER, secrets.SecretGet, secrets.SecretInfo),
    "secret.update": Method("request", CALLER, secrets.SecretUpdate, common.Empty),
    "secret.list": Method("request", CALLER, secrets.SecretList, secrets.SecretListReply),
    "secret.delete": Method("request", CALLER, secrets.SecretDelete, common.Empty),
    # sandboxes; from "sandbox.stdin" on the worker answers
    "sandbox.create": Method("request", CALLER, sandboxes.SandboxCreate, sandboxes.SandboxInfo),
    "sandbox.get": Method("request", CALLER, sandboxes.SandboxGet, sandboxes.SandboxInfo),
    "sandbox.list": Method("request", CALLER, sandboxes.SandboxList, sandboxes.SandboxListReply),
    "sandbox.wait": Method("request", CALLER, sandboxes.SandboxWait, sandboxes.SandboxInfo),
    "sandbox.terminate": Method("request", CALLER, sandboxes.SandboxRef, common.Empty),
    "sandbox.tags": Method("request", CALLER, sandboxes.SandboxTags, common.Empty),
    "sandbox.output": Method("stream", CALLER, sandboxes.SandboxOutput, apps.LogBatch),
    "sandbox.stdin": Method("request", CALLER, sandboxes.SandboxInput, common.Empty),
    "sandbox.exec": Method("request", CALLER, sandboxes.SandboxExec, common.Empty),
    "sandbox.exec_wait": Method("request", CALLER, sandboxes.ExecRef, sandboxes.ExecState),
    "sandbox.exec_read": Method("request", CALLER, sandboxes.ExecRead, sandboxes.ExecPiece),
    "sandbox.exec_write": Method("request", CALLER, sandboxes.SandboxInput, common.Empty),
    "sandbox.exec_kill": Method("request", CALLER, sandboxes.ExecRef, common.Empty),
    "sandbox.file": Method("request", CALLER, sandboxes.FileRequest, sandboxes.FileReply),
    "sandbox.watch": Method("stream", CALLER, sandboxes.WatchRequest, sandboxes.WatchEvent),
    "sandbox.snapshot": Method("request", CALLER, sandboxes.SnapshotRequest, sandboxes.SnapshotReply),
    "sandbox.mount": Method("request", CALLER, sandboxes.SandboxMount, common.Empty),
    "sandbox.unmount": Method("request", CALLER, sandboxes.SandboxMount, common.Empty),
    "sandbox.reload": Method("request", CALLER, sandboxes.SandboxReload, common.Empty),
    # dicts and queues
    "dict.open": Method("request", CALLER, collections.CollectionOpen, collections.CollectionInfo),
    "dict.info": Method("request", CALLER, collections.CollectionRef, collections.CollectionInfo),
    "dict.list": Method("request", CALLER, collections.CollectionList, collections.CollectionListReply),
    "dict.delete": Method("request", CALLER, collections.CollectionName, common.Empty),
    "dict.close": Method("request", CALLER, collections.CollectionRef, common.Empty),
    "dict.get": Method("request", CALLER, dicts.DictKey, dicts.DictFound),
    "dict.has": Method("request", CALLER, dicts.DictKey, dicts.DictHas),
    "dict.put": Method("request", CALLER, dicts.DictPut, dicts.DictWritten),
    "dict.pop": Method("request", CALLER, dicts.DictPop, dicts.DictFound),
    "dict.update": Method("request", CALLER, dicts.DictUpdate, common.Empty),
    "dict.clear": Method("request", CALLER, dicts.DictClear, common.Empty),
    "dict.len": Method("request", CALLER, collections.CollectionRef, dicts.DictLen),
    "dict.scan": Method("stream", CALLER, dicts.DictScan, dicts.DictPage),
    "queue.open": Method("request", CALLER, collections.CollectionOpen, collections.CollectionInfo),
    "queue.info": Method("request", CALLER, collections.CollectionRef, collections.CollectionInfo),
    "queue.list": Method("request", CALLER, collections.CollectionList, collections.CollectionListReply),
    "queue.delete": Method("request", CALLER, collections.CollectionName, common.Empty),
    "queue.close": Method("request", CALLER, collections.CollectionRef, common.Empty),
    "queue.put": Method("request", CALLER, queues.QueuePut, queues.QueueTaken),
    "queue.room": Method("stream", CALLER, queues.QueueRoom, common.Empty),
    "queue.get": Method("stream", CALLER, queues.QueueGet, queues.QueueHanded),
    "queue.take": Method("request", CALLER, queues.QueueTake, queues.QueueTaken),
    "queue.back": Method("request", CALLER, queues.QueueBack, common.Empty),
    "queue.len": Method("request", CALLER, queues.QueueLen, queues.QueueCount),
    "queue.clear": Method("request", CALLER, queues.QueueClear, common.Empty),
    "queue.look": Method("stream", CALLER, queues.QueueLook, queues.QueuePage),
    "queue.figures": Method("request", CALLER, collections.CollectionRef, queues.QueueFigures),
    # volumes
    "volume.get": Method("request", CALLER, volumes.VolumeGet, volumes.VolumeInfo),
    "volume.list": Method("request", CALLER, volumes.VolumeList, volumes.VolumeListReply),
    "volume.rename": Method("request", CALLER, volumes.VolumeRename, common.Empty),
    "volume.delete": Method("request", CALLER, volumes.VolumeRef, common.Empty),
    "volume.beat": Method("request", CALLER, volumes.VolumeRef, common.Empty),
    "volume.history": Method("request", CALLER, volumes.VolumeHistory, volumes.VolumeHistoryReply),
    "volume.restore": Method("request", CALLER, volumes.VolumeRestore, volumes.VolumeEdited),
    "volume.fork": Method("request", CALLER, volumes.VolumeFork, volumes.VolumeInfo),
    "volume.entries": Method("stream", CALLER, volumes.VolumeRead, volumes.VolumeEntries),
    "volume.fetch": Method("stream", CALLER, volumes.VolumeRead, volumes.VolumePiece),
    "volume.missing": Method("request", CALLER, blobs.BlobQuery, blobs.BlobMissing),
    "volume.upload": Method("request", CALLER, blobs.BlobPut, volumes.VolumeUploaded),
    "volume.edit": Method("request", CALLER, volumes.VolumeEdit, volumes.VolumeEdited),
    "volume.commit": Method("request", CONTAINER, volumes.VolumeCommit, volumes.MountTaken),
    # network file systems
    "nfs.get": Method("request", CALLER, nfs.NfsGet, nfs.NfsInfo),
    "nfs.list": Method("request", CALLER, nfs.NfsList, nfs.NfsListReply),
    "nfs.delete": Method("request", CALLER, volumes.VolumeRef, common.Empty),
    "nfs.beat": Method("request", CALLER, volumes.VolumeRef, common.Empty),
    "nfs.entries": Method("stream", CALLER, volumes.VolumeRead, volumes.VolumeEntries),
    "nfs.fetch": Method("stream", CALLER, volumes.VolumeRead, volumes.VolumePiece),
    "nfs.edit": Method("request", CALLER, volumes.VolumeEdit, common.Empty),
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
    "runner.slots": Method("request", RUNNER, work.RunnerSlots, common.Empty),
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
    "volume.publish": Method("request", WORKER, volumes.VolumePublish, volumes.VolumePublished),
    "volume.head": Method("request", WORKER, volumes.VolumeRef, volumes.VolumeHead),
}

TO: dict[str, dict[str, Method]] = {
    "runner": {
        "runner.lease": Method("notice", frozenset(), work.RunnerLease, None),
        "runner.cancel": Method("notice", frozenset(), work.RunnerCancel, None),
        "runner.stop": Method("notice", frozenset(), work.RunnerStop, None),
    },
    "worker": {
        "worker.want": Method("notice", frozenset(), workers.WorkerWant, None),
        "image.contents": Method("request", frozenset(), images.ImageQuery, images.ImageContents),
        "worker.templates": Method("notice", frozenset(), workers.WorkerTemplates, None),
        "exec.start": Method("stream", frozenset(), containers.ContainerExec, containers.ExecOutput),
        "exec.input": Method("request", frozenset(), containers.ExecInput, common.Empty),
        "volume.take": Method("request", frozenset(), volumes.MountTake, volumes.MountTaken),
        "layers.list": Method("stream", frozenset(), volumes.LayersRead, volumes.VolumeEntries),
        "layers.read": Method("stream", frozenset(), volumes.LayersRead, volumes.VolumePiece),
        "layers.edit": Method("request", frozenset(), volumes.LayersEdit, volumes.LayerMade),
        "layers.merge": Method("request", frozenset(), volumes.LayersMerge, volumes.LayerMade),
        "folders.list": Method("stream", frozenset(), nfs.FoldersRead, volumes.VolumeEntries),
        "folders.read": Method("stream", frozenset(), nfs.FoldersRead, volumes.VolumePiece),
        "folders.edit": Method("request", frozenset(), nfs.FoldersEdit, common.Empty),
        "folders.known": Method("request", frozenset(), common.Empty, nfs.FoldersKnown),
        "folders.remove": Method("request", frozenset(), nfs.FoldersKnown, common.Empty),
        "layers.keep": Method("request", frozenset(), volumes.LayersKeep, volumes.LayersRemoved),
        "store.inventory": Method("request", frozenset(), common.Empty, upkeep.Inventory),
        "store.remove": Method("stream", frozenset(), upkeep.StoreRemove, upkeep.StoreRemoved),
        "store.check": Method("stream", frozenset(), common.Empty, upkeep.FsckEvent),
        "store.export": Method("request", frozenset(), upkeep.ExportRead, upkeep.ExportPiece),
        "store.export_stop": Method("request", frozenset(), upkeep.ExportRef, common.Empty),
    },
}
