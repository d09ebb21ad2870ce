"""The differentiable z-buffer rasterizer: depth maps, visible faces and shaded pictures."""

from dhm.rendering.rasterizer import Fragments, default_window, rasterize, render_depth

__all__ = ["Fragments", "default_window", "rasterize", "render_depth"]
