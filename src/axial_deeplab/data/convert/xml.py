"""Reading XML that others wrote: no entities, which could name other files or grow without end."""

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from axial_deeplab.util.files import bytes_of


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file.

    Raises:
        ValueError: it is no XML, or declares types or entities.
        OSError: it cannot be opened.
    """
    content = bytes_of(path)

    def refuse(*_: object) -> None:
        raise ValueError(f"{path} must be plain XML, got a DOCTYPE, which may name other files; remove it")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"{path} must be an XML file, got: {error}; export it again") from None
