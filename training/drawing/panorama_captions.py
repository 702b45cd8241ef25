"""Captions of the panoramas' scenes: a closed set of sentences and words, and of directions."""

from training.drawing.wording import Wording

DIRECTIONS = (
    "",
    "looking up",
    "looking down",
    "straight up",
    "straight down",
)  # what follows a caption; level: nothing

PROMPTS = {
    "beach": "A beach scene at sunrise with golden sands",
    "lavender": "A lavender field in Provence with rows of vibrant purple flowers",
    "dunes": "A desert landscape with vast dunes of golden sand",
    "forest": "A clearing in an autumn forest with red and orange trees",
    "twilight": "A mountain range at twilight with snowy peaks",
    "reef": "A photo of a beautiful ocean with coral reef",
    "town": "A European medieval town square with cobblestones",
    "city": "A bustling city skyline at night by a lake",
    "living_room": "A cosy living room with a sofa and a round rug",
    "library": "A grand old library with books under a glass dome",
}
PHRASES = {
    "beach": ("a beach at sunrise with golden sands", "a beach at sunrise", "a beach with palms", "a beach",
              "a beach at sunset", "an island with palms at sunrise", "palm trees on a beach by the sea"),
    "lavender": ("a lavender field in Provence", "a lavender field", "lavender fields", "rows of lavender",
                 "rows of purple flowers", "a field of lavender with purple flowers"),
    "dunes": ("a desert with dunes of golden sand", "a desert with dunes", "a desert", "sand dunes",
              "golden dunes", "dunes of sand in the desert"),
    "forest": ("a forest in autumn", "an autumn forest", "a forest with red and orange trees", "autumn trees",
               "a clearing in a forest", "a forest clearing with autumn leaves"),
    "twilight": ("a mountain range at twilight", "mountains at twilight", "a mountain range",
                 "snowy mountains at twilight", "snowy mountain peaks", "mountain peaks at twilight"),
    "reef": ("an ocean with coral reef", "a coral reef", "corals and fish", "a coral reef with fish",
             "fish in the ocean", "an underwater scene with corals"),
    "town": ("a medieval town with cobblestones", "a medieval town", "a European town", "a town square",
             "an old town with houses", "houses around a medieval square"),
    "city": ("a city skyline at night", "a city at night", "a city skyline", "a skyline at night",
             "skyscrapers at night", "a city with skyscrapers by a lake"),
    "living_room": ("a living room with a sofa", "a living room", "a cosy living room", "a sofa and a fireplace",
                    "a living room with a fireplace", "a living room with a red rug"),
    "library": ("an old library with books", "a library", "a round library", "shelves of books",
                "a library under a glass dome", "a library with shelves of old books"),
}  # fmt: skip
TITLES = {
    "beach": "a beach", "lavender": "a lavender field", "dunes": "desert dunes", "forest": "an autumn forest",
    "twilight": "a mountain range at twilight", "reef": "a coral reef", "town": "a medieval town",
    "city": "a city at night", "living_room": "a living room", "library": "a library",
}  # fmt: skip
NAMES = {
    "beach": ("beach", "island"),
    "lavender": ("lavender", "purple flowers"),
    "dunes": ("desert", "dunes"),
    "forest": ("forest", "autumn"),
    "twilight": ("mountain range", "mountains at twilight", "mountain peaks", "twilight"),
    "reef": ("reef", "coral", "corals", "ocean"),
    "town": ("town", "medieval"),
    "city": ("city", "skyline", "skyscrapers at night"),
    "living_room": ("living room", "sofa", "fireplace"),
    "library": ("library", "books"),
}
LEADS = ("", "a photo of", "a panoramic view of", "a beautiful photo of", "a picture of", "a panorama of",
         "a painting of", "a photograph of", "a spherical panorama of", "a wide view of")  # fmt: skip
FILLER = frozenset(("a", "an", "the", "of", "at", "with", "in", "on", "by", "and", "under", "around"))
STYLES = frozenset((
    "photo", "photograph", "picture", "painting", "panorama", "panoramic", "spherical", "view", "scene", "landscape",
    "wide", "beautiful", "bustling", "vast", "vibrant", "old", "golden", "grand", "orange", "purple", "red", "european",
    "snowy", "cosy", "round",
))  # fmt: skip

WORDING = Wording(PROMPTS, PHRASES, TITLES, NAMES, LEADS, FILLER, STYLES, DIRECTIONS[1:])


def point(caption: str, direction: str) -> str:
    """Return a caption of what is seen in a direction, one of :data:`DIRECTIONS`; one that is empty stays so."""
    return f"{caption}, {direction}" if caption and direction else caption
