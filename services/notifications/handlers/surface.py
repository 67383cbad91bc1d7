"""The register that the modules beside this one fill."""

from shared.surface import Surface

on = Surface("notifications")
