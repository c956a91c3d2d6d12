"""DreamStereo for ComfyUI: 2D video to stereoscopic 3D."""

WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint():
    """Return the extension; everything of ComfyUI's is imported here, not at the top."""
    from .nodes import DreamStereoExtension

    return DreamStereoExtension()
