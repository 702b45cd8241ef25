"""What a PNG says of itself so that photo viewers open it as a sphere: Google's photo sphere metadata, in XMP."""

from utils.sphere import Band

NAMESPACE = "http://ns.google.com/photos/1.0/panorama/"
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:GPano="{namespace}">
{fields}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def sphere_xmp(band: Band) -> str:
    """Return the XMP of an equirectangular picture; its middle column counts as north, there being no compass.

    Args:
        band: its rows, of a whole sphere twice as wide as high.
    """
    width = 2 * band.height
    fields = {
        "ProjectionType": "equirectangular",
        "UsePanoramaViewer": "True",
        "FullPanoWidthPixels": width,
        "FullPanoHeightPixels": band.height,
        "CroppedAreaImageWidthPixels": width,
        "CroppedAreaImageHeightPixels": band.end - band.first,
        "CroppedAreaLeftPixels": 0,
        "CroppedAreaTopPixels": band.first,
        "PoseHeadingDegrees": 0,
    }
    lines = "\n".join(f"<GPano:{name}>{value}</GPano:{name}>" for name, value in fields.items())
    return PACKET.format(namespace=NAMESPACE, fields=lines)
