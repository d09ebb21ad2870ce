"""The z-buffer rasterizer and depth maps."""

from dhm.rendering.rasterizer import Fragments, rasterize, render_depth
from dhm.rendering.settings import default_window

__all__ = ["Fragments", "default_window", "rasterize", "render_depth"]
