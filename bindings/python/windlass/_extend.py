"""What users bring into a cluster of this process: functions as pods, controllers, filters, scores and admissions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ._drive import run

if TYPE_CHECKING:
    from . import _native
    from ._calls import Calls

F = TypeVar("F", bound=Callable[..., Any])


class Extensible:
    """A cluster that functions can be brought into, blocking or not: they are taken at once."""

    if TYPE_CHECKING:
        _calls: Calls

        @property
        def namespace(self) -> str: ...
        @property
        def _native_cluster(self) -> _native.Cluster: ...

    def image(self, name: str, *, ready: bool = True) -> Callable[[F], F]:
        """Lets containers of an image run a function, in pods that begin from now on::

            @c.image("worker:v1")
            def worker(ctx):
                ctx.log("begins")
                ctx.sleep("5m")

        What it returns, ``SystemExit`` or an exception (with its traceback in the log) is the exit code; what it prints
        is its log. A plain function runs on a thread of its own. In coroutines and generators what takes time is
        awaited or yielded: ``await ctx.sleep(5)``, ``yield 5``. With ``ready=False`` a container is not ready before the
        function says so (``ctx.ready()``). Volumes are folders (``ctx.path("/etc/config/colour")``), probes and hooks
        ask what the function serves (``ctx.serve()``) and carries out (``ctx.carry_out()``).
        """

        def add(function: F) -> F:
            # What these lean on takes longer to import than all the rest.
            from . import _functions

            made = _functions.Image(function)
            self._native_cluster.image(name, made.plain, made.run, ready)
            return function

        return add

    def controller(
        self, watches: str | Iterable[str], *, owns: str | Iterable[str] = (), name: str = ""
    ) -> Callable[[F], F]:
        """Runs a function whenever an object changes, for its key; see it as ``reconcile(c, key)``::

            @c.controller(watches="configmaps", owns="pods")
            def reconcile(c, key):
                settings = c.get("cm", key.name, namespace=key.namespace)

        Of what it ``owns``, changes bring the owner's key. One key is worked on once at a time. An exception is logged
        (logger ``windlass``) and the key tried again with back-off; a span that is returned brings the key again after
        so long. Coroutines are handed a client of ``windlass.aio``. Custom resources may be named before they are
        defined: ``widgets.v1.example.com``.
        """

        def add(function: F) -> F:
            from . import _client, _plugins, aio

            def client(api: _native.Api) -> Any:
                return (_client.Client if made.plain else aio.Client)(api, self.namespace, None)

            made = _plugins.Reconciler(function, client)
            own = [(one.key, False) for one in run(_plugins.resources(self._calls.names, watches))]
            own += [(one.key, True) for one in run(_plugins.resources(self._calls.names, owns))]
            self._native_cluster.controller(name or made.name, own, made.plain, made.run).wait()
            return function

        return add

    def filter(self, function: F, *, name: str = "") -> F:
        """Adds a filter to the scheduler: ``fits(pod, node)`` answers ``True``, ``False``, or why not.

        It is asked for every node of every pod that the built-in filters left over, has to answer at once and cannot ask
        the cluster. What it raises is told in the pod's events, and the pod tried again.
        """
        from . import _functions, _plugins

        called = name or _functions.name_of(function)
        self._native_cluster.filter(called, _plugins.filtering(called, function))
        return function

    def score(self, function: F, *, weight: int = 1, name: str = "") -> F:
        """Adds a score to the scheduler: ``suits(pod, node)`` says from 0 to 100 how well."""
        from . import _functions, _plugins

        called = name or _functions.name_of(function)
        self._native_cluster.score(called, _plugins.scoring(called, function), weight)
        return function

    def mutate(
        self, what: str, *, operations: str | Iterable[str] = ("create", "update"), name: str = ""
    ) -> Callable[[F], F]:
        """Lets a function change objects before they are stored: ``change(write)``, with ``write.object``.

        It changes the object in place or returns another; a text, ``False``, ``ValueError``, ``PermissionError``,
        ``InvalidError`` or ``ForbiddenError`` denies the write. It has to answer at once and cannot ask the cluster.
        """
        return self._admission(what, operations, name, True)

    def validate(
        self, what: str, *, operations: str | Iterable[str] = ("create", "update", "delete"), name: str = ""
    ) -> Callable[[F], F]:
        """Lets a function deny writes, once all that change objects have had their say; as :meth:`mutate`."""
        return self._admission(what, operations, name, False)

    def _admission(self, what: str, operations: str | Iterable[str], name: str, mutates: bool) -> Callable[[F], F]:
        def add(function: F) -> F:
            from . import _functions, _plugins

            resource = run(_plugins.of_admission(self._calls.names, what))
            called = name or _functions.name_of(function)
            self._native_cluster.admission(called, resource, _plugins.operations_of(operations), mutates, _plugins.admitting(function, mutates))
            return function

        return add
