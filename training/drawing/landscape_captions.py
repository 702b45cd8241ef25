"""Captions of the landscape scenes: a closed set of sentences and words."""

from training.drawing.wording import Wording

PROMPTS = {
    "canyon": "A sweeping panoramic view of the Grand Canyon at sunset",
    "city": "A bustling city skyline at night with skyscrapers",
    "reef": "A photo of a beautiful ocean with coral reef",
    "beach": "A beach scene at sunrise with golden sands",
    "dunes": "A desert landscape with vast dunes of golden sand",
    "forest": "A dense forest in autumn with trees in shades of red orange",
    "town": "A European medieval town with narrow cobblestone streets",
    "lake": "A tranquil lake surrounded by misty mountains",
    "great_wall": "The Great Wall of China snaking across rugged mountains",
    "lavender": "A lavender field in Provence with rows of vibrant purple flowers",
    "twilight": "A photo of a mountain range at twilight",
}
PHRASES = {
    "canyon": ("the Grand Canyon at sunset", "the Grand Canyon", "a canyon at sunset", "a red canyon with rocks",
               "canyons and mesas", "red rocks at sunset"),
    "city": ("a city skyline at night with skyscrapers", "a city at night", "a city skyline", "a skyline at night",
             "skyscrapers at night", "a city with skyscrapers by the river"),
    "reef": ("an ocean with coral reef", "a coral reef", "corals and fish", "a coral reef with fish",
             "fish in the ocean", "an underwater scene with corals"),
    "beach": ("a beach at sunrise with golden sands", "a beach at sunrise", "a beach with palms", "a beach",
              "the sea at sunrise with boats", "palm trees on a beach by the sea"),
    "dunes": ("a desert with dunes of golden sand", "a desert with dunes", "a desert", "sand dunes",
              "golden dunes", "dunes of sand in the desert"),
    "forest": ("a forest in autumn", "an autumn forest", "a forest with red and orange trees", "autumn trees",
               "trees in autumn", "a dense forest in shades of red orange"),
    "town": ("a medieval town with cobblestone streets", "a medieval town", "a European town",
             "an old town with houses", "houses and towers of a medieval town", "a town with red roofs"),
    "lake": ("a lake surrounded by mountains", "a lake with misty mountains", "a misty lake", "a lake and mountains",
             "misty mountains by a lake", "a tranquil lake with pines"),
    "great_wall": ("the Great Wall of China", "the Great Wall across mountains", "the Great Wall",
                   "a stone wall across green mountains", "the Great Wall of China with watchtowers",
                   "a wall snaking across rugged mountains"),
    "lavender": ("a lavender field in Provence", "a lavender field", "lavender fields", "rows of lavender",
                 "rows of purple flowers", "a field of lavender with purple flowers"),
    "twilight": ("a mountain range at twilight", "mountains at twilight", "a mountain range",
                 "snowy mountains at twilight", "snowy mountain peaks", "mountain peaks at twilight"),
}  # fmt: skip
TITLES = {  # what a list calls them
    "canyon": "a canyon", "city": "a city skyline", "reef": "a coral reef", "beach": "a beach", "dunes": "desert dunes",
    "forest": "an autumn forest", "town": "a medieval town", "lake": "a lake with mountains",
    "great_wall": "the Great Wall", "lavender": "a lavender field", "twilight": "a mountain range at twilight",
}  # fmt: skip
NAMES = {  # phrases any of which asks for the scene, and for no other: each draws it by itself
    "canyon": ("canyon", "canyons", "red rocks"),
    "city": ("city", "skyline", "skyscrapers at night"),
    "reef": ("reef", "coral", "corals", "ocean"),
    "beach": ("beach", "sea at sunrise"),
    "dunes": ("desert", "dunes"),
    "forest": ("forest", "autumn"),
    "town": ("town", "medieval"),
    "lake": ("lake",),
    "great_wall": ("great wall", "wall"),
    "lavender": ("lavender", "purple flowers"),
    "twilight": ("mountain range", "mountains at twilight", "mountain peaks", "twilight"),
}  # fmt: skip
LEADS = ("", "a photo of", "a panoramic view of", "a beautiful photo of", "a wide landscape of", "a picture of",
         "a panorama of", "a painting of", "a photograph of", "a scenic view of")  # fmt: skip
FILLER = frozenset(("a", "an", "the", "of", "at", "with", "in", "on", "by", "and", "across"))
STYLES = frozenset((
    "photo", "photograph", "picture", "painting", "panorama", "panoramic", "view", "scene", "landscape", "scenic",
    "wide", "beautiful", "sweeping", "bustling", "vast", "dense", "tranquil", "vibrant", "narrow", "rugged", "shades",
    "surrounded", "old", "golden", "grand", "great", "green", "orange", "purple", "red", "european", "misty", "snowy",
    "stone",
))  # fmt: skip

WORDING = Wording(PROMPTS, PHRASES, TITLES, NAMES, LEADS, FILLER, STYLES)
captions, words, vocabulary = WORDING.captions, WORDING.words, WORDING.vocabulary
