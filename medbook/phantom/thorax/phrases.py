"""Words of radiology reports; several ways to say each thing."""

SIDE = {-1: "right", 1: "left"}
ZONE = ("lower", "middle", "upper")
SIZE: dict[str, tuple[str, str, str]] = {
    "nodule": ("small", "medium-sized", "large"),
    "mass": ("small", "medium-sized", "large"),
    "consolidation": ("small", "moderate", "extensive"),
    "effusion": ("small", "moderate", "large"),
    "pneumothorax": ("small", "moderate", "large"),
    "cardiomegaly": ("mild", "moderate", "severe"),
}

# {size}, {side}, {zone} and {a} (its article) are filled in; {mm} is the size in mm.
PRESENT: dict[str, tuple[str, ...]] = {
    "nodule": (
        "There is {a} {size} nodule in the {side} {zone} zone.",
        "{A} {size} pulmonary nodule projects over the {side} {zone} lung zone.",
        "A rounded opacity of about {mm} mm in the {side} {zone} zone is a {size} nodule.",
        "{Side} {zone} zone: {size} nodule, {mm} mm across.",
        "The {side} lung shows {a} {size} round nodule in its {zone} third.",
        "Coin-like nodule on the {side}, {zone} zone, {size}.",
    ),
    "mass": (
        "There is {a} {size} mass in the {side} {zone} zone.",
        "{A} {size} lung mass occupies the {side} {zone} zone.",
        "The {side} {zone} zone contains {a} {size} mass of about {mm} mm.",
        "{Side} {zone} zone: {size} mass, {mm} mm across.",
        "{A} {size} solid mass is seen in the {zone} third of the {side} lung.",
        "Dense rounded mass on the {side}, {zone} zone, {size}.",
    ),
    "consolidation": (
        "There is {size} consolidation in the {side} {zone} zone.",
        "{Size} airspace opacity in the {side} {zone} zone represents consolidation.",
        "The {side} {zone} zone shows {size} consolidation.",
        "{Side} {zone} zone: {size} consolidation.",
        "Patchy {size} consolidation in the {zone} third of the {side} lung.",
        "{Size} hazy opacification on the {side}, {zone} zone, in keeping with consolidation.",
    ),
    "effusion": (
        "There is {a} {size} {side} pleural effusion.",
        "{A} {size} pleural effusion is seen on the {side}.",
        "{Size} {side}-sided pleural effusion with a meniscus.",
        "Pleural fluid on the {side}: {size} effusion.",
        "The {side} costophrenic angle is filled by {a} {size} effusion.",
        "{Size} effusion layers at the {side} base.",
    ),
    "pneumothorax": (
        "There is {a} {size} {side} pneumothorax.",
        "{A} {size} pneumothorax is present on the {side}.",
        "A pleural line on the {side} with no lung markings beyond it: {size} pneumothorax.",
        "{Size} pneumothorax at the {side} chest wall.",
        "The {side} lung has partly collapsed, {size} pneumothorax.",
        "Air in the {side} pleural space: {size} pneumothorax.",
    ),
    "cardiomegaly": (
        "There is {size} cardiomegaly.",
        "The heart is enlarged, with {size} cardiomegaly.",
        "{Size} enlargement of the cardiac silhouette.",
        "Cardiac size is increased, {size} cardiomegaly.",
        "The cardiothoracic ratio is raised in keeping with {size} cardiomegaly.",
        "{Size} cardiomegaly is seen.",
    ),
    "drain": (
        "A chest drain is in place on the {side}.",
        "{Side}-sided chest tube noted.",
        "There is a {side} chest drain.",
    ),
    "sponge": (
        "A ribbon-like radiopaque marker is seen, a retained surgical sponge.",
        "There is a retained sponge.",
        "Folded radiopaque thread: retained surgical sponge.",
    ),
    "needle": (
        "A curved metallic object is seen, a retained needle.",
        "There is a retained surgical needle.",
        "Curved metallic density: retained needle.",
    ),
}
ABSENT: dict[str, tuple[str, ...]] = {
    "nodule": ("No pulmonary nodule.", "There is no lung nodule.", "No nodules are seen."),
    "mass": ("No lung mass.", "There is no mass.", "No mass is identified."),
    "consolidation": (
        "No consolidation.", "There is no focal consolidation.",
        "No airspace consolidation is seen.",
    ),
    "effusion": (
        "No pleural effusion.", "There is no pleural effusion.",
        "No effusion is seen on either side.",
    ),
    "pneumothorax": (
        "No pneumothorax.", "There is no pneumothorax.", "No pneumothorax is identified.",
    ),
    "cardiomegaly": (
        "The heart is not enlarged.", "Heart size is normal.", "No cardiomegaly.",
    ),
    "drain": ("No chest drain.", "No chest tube is in place."),
    "sponge": ("No retained sponge.",),
    "needle": ("No retained needle.",),
}  # fmt: skip
# A hedge takes the place of the first words; the finding is there, but small.
HEDGED: dict[str, tuple[str, ...]] = {
    "nodule": ("Possible {size} nodule in the {side} {zone} zone.",),
    "mass": ("Probable {size} mass in the {side} {zone} zone.",),
    "consolidation": (
        "{Size} opacity in the {side} {zone} zone may represent consolidation.",
        "Possible {size} consolidation in the {side} {zone} zone.",
    ),
    "effusion": ("Blunting of the {side} costophrenic angle suggests {a} {size} effusion.",),
    "pneumothorax": ("Possible {size} {side} pneumothorax.",),
    "cardiomegaly": ("The heart is borderline in size, suggesting {size} cardiomegaly.",),
}
CHANGE: dict[str, tuple[str, ...]] = {
    "new": ("This is new.", "It was not there before."),
    "larger": ("It has increased in size.", "It is larger than before."),
    "smaller": ("It has decreased in size.", "It is smaller than before."),
    "unchanged": ("It is unchanged.", "No change since the prior examination."),
}
RESOLVED: dict[str, tuple[str, ...]] = {
    kind: (f"The {side_kind} seen before has resolved.", f"Interval resolution of the {side_kind}.")
    for kind, side_kind in {
        "nodule": "{side} {zone} zone nodule", "mass": "{side} {zone} zone mass",
        "consolidation": "{side} {zone} zone consolidation",
        "effusion": "{side} pleural effusion", "pneumothorax": "{side} pneumothorax",
    }.items()
} | {
    "drain": ("The {side} chest drain has been removed.",),
    "cardiomegaly": ("The cardiomegaly seen before has resolved.",),
    "sponge": ("The retained sponge has been removed.",),
    "needle": ("The retained needle has been removed.",),
}  # fmt: skip
CLEAR = ("No acute abnormality.", "The lungs are clear and the heart is of normal size.")
