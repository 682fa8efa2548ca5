"""Colors as usual screens show them: ICC profiles, and the gamma of PNG files."""

from io import BytesIO

from PIL import Image, ImageCms


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image in RGB as usual screens show it, from the colors of an ICC profile."""
    try:
        if profile is None and image.mode != "LAB":
            return image.convert("RGB")
        source = ImageCms.ImageCmsProfile(BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image.convert("RGB")
        shown = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert shown is not None  # as it is not done in place
        return shown
    except (ImageCms.PyCMSError, OSError, ImportError):
        # A damaged profile, or one of other colors, is passed over, as viewers do.
        return image.convert("RGB")


def exponent_of_gamma(image: Image.Image) -> float:
    """Return the exponent that the gamma of a PNG asks for; screens have 2.2, and viewers pass over 5 %."""
    gamma = image.info.get("gamma") if image.format == "PNG" and "srgb" not in image.info else None
    exponent = 1 / (2.2 * gamma) if gamma else 1.0
    return exponent if abs(exponent - 1) > 0.05 else 1.0
