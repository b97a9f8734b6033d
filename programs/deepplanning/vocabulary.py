"""The store's own terms: the values that its text fields take, and the provinces and providers that ship."""

from __future__ import annotations

from programs.deepplanning.transport import PROVINCES

COLORS = (
    "Light Grey", "Light Blue", "Navy Blue", "Dark Green", "Olive Green", "Wine Red", "Black", "White", "Grey", "Blue",
    "Green", "Red", "Yellow", "Beige", "Camel", "Brown", "Khaki", "Pink", "Coffee", "Burgundy", "Orange", "Purple",
    "Gold", "Silver",
)  # fmt: skip
SEASONS = ("Spring/Autumn", "Summer", "Winter", "All Seasons")
DEMOGRAPHICS = ("Women", "Men", "Unisex", "Youth", "Kids")
LETTERS = ("XS", "S", "M", "L", "XL", "XXL", "XXXL", "XXXXL")
THICKNESSES = ("Regular", "Thin", "Thick", "Medium-thick", "Fleece-lined")
ELASTICITIES = ("Non-stretch", "Slightly-stretch", "Moderate-stretch", "High-stretch")
FITS = ("Regular Fit", "Slim Fit", "Loose Fit (Oversize)", "Straight Cut")
COLLARS = ("Hooded", "Crew Neck", "Stand Collar", "Lapel Collar", "Polo Collar", "V-Neck", "Turtleneck")
PROVIDERS = (
    "SF Express", "JD Logistics", "YTO Express", "ZTO Express", "STO Express", "Yunda Express", "Cainiao", "China Post",
)  # fmt: skip
ORIGINS = tuple(name.title() for name in PROVINCES)
