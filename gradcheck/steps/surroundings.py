"""What the twin of a function finds around it: its globals, the modules in them, and ``isinstance``. Level 3."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from gradcheck.steps.traced import Kind, Traced

if TYPE_CHECKING:
    from gradcheck.steps.twin import Twins

__all__ = ["Globals", "Module", "Quiet", "is_instance"]


class Globals(dict):  # type: ignore[type-arg]
    """The globals of the twins of a module's functions: what is not in it yet is the twin of the module's own."""

    def __init__(self, own: dict[str, Any], twins: Twins, builtins: dict[str, Any]) -> None:
        super().__init__({"__builtins__": builtins, "__name__": own.get("__name__", "")})
        self.own, self.twins = own, twins

    def __missing__(self, name: str) -> Any:
        found = self[name] = self.twins.of(self.own[name])
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """Return what has a name, as ``globals().get`` does."""
        return self[name] if name in self else default  # noqa: SIM401  (which would call this)

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.own


class Module(types.ModuleType):
    """A module whose members are looked up when they are needed; what is set stays here."""

    def __init__(self, own: types.ModuleType, twins: Twins) -> None:
        super().__init__(own.__name__, own.__doc__)
        self.__dict__["_own"], self.__dict__["_twins"] = own, twins

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = self._twins.of(getattr(self._own, name))
        return found

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __dir__(self) -> list[str]:
        return dir(self._own)


class Quiet:
    """Keeps a subclass from being told to the classes above it, which may keep a list of theirs."""

    __slots__ = ()

    def __init_subclass__(cls, **_: Any) -> None:
        pass


def is_instance(thing: Any, kinds: Any) -> bool:
    """``isinstance`` where a traced number is one of NumPy's."""
    if type(thing) is Traced and thing.is_number:
        return issubclass(thing.dtype.type, _real(kinds))
    return isinstance(thing, kinds)


def _real(kinds: Any) -> Any:
    if isinstance(kinds, tuple):
        return tuple(map(_real, kinds))
    if isinstance(kinds, types.UnionType):
        return tuple(map(_real, kinds.__args__))
    return kinds.alike if isinstance(kinds, Kind) else kinds
