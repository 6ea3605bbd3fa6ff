"""What is known about each set of images without labels; few of their files have a mirror."""

from dataclasses import replace

from medbook.data.entries import File, ImageInfo

KERMANY, TCIA = "Kermany 2018 chest X-rays", "TCIA"  # labelled sets come from them too

_VOLUME = File(
    "chest_ct_lidc/lidc_idri_0001_256.nii.gz",
    "sha256:7a993217185b6b6e4277b3106500a89b0d67755ec78acc0ad40b66df0b78bca6",
)
_SLICES_512 = File(
    "chest_ct_lidc/lidc_idri_0001_slices512.npz",
    "sha256:2802d89f667657cb432d51df2280d774e545b904a4bf2300e4a185360b2876a2",
)
_XRAYS = File(
    "chest_xray_lungs/chest_xray_lungs_512.zip",
    "sha256:edaf15619d6388d2a44c63ddcf98f85c0d4151e02782c28015ee77d1319ff4bb",
)
_PHASE = File(
    "label_free_microscopy/phase_contrast_z7_fluorescence.npz",
    "sha256:130b0d9e8ed87b2fd76945a2e72b9f5a2011e0e6a36b7e4f8eff9857dcdb96a0",
)
_RETINA = File(
    "skimage/data/retina.jpg",
    "sha256:38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    package=True,
)

_ANTSPY = (
    "https://raw.githubusercontent.com/ANTsX/ANTsPy/0cf1e566019d92a5e878129fa4cf1af839ccb826/data"
)
_BRAINS = {
    "16": "f3f77d4118ccef62a378dc62de561e5d752eabe4247f14467ab43268778ddb0f",
    "27": "58ea0334a62760ce2e003b2df60485e8cfcde097ea200f6cf4da38fb03aaf8a8",
    "30": "674ea6502418c63eb460bb7c40ff6dec21a05513cbc7218fa80e13e176ec946a",
    "62": "acec668caf244f17ba3d35b0ec36b03a8bc32eb8e51d44f970408a16f399dce8",
    "64": "3971218c84734fa1e65ec4472cc8d5cd81eeaa2a904fa7e50c74e9fe07f59d59",
    "85": "d7d396b89e83cb9db4e36627c36965c3aaf149387b38233ffccc5e88006d252d",
}
_FIRST, *_REST = (
    File(f"mri_brain_slices/r{n}slice.jpg", f"sha256:{digest}", (f"{_ANTSPY}/r{n}slice.jpg",))
    for n, digest in _BRAINS.items()
)
_SLICES = replace(_FIRST, parts=tuple(_REST))
_HEAD = File(
    "nibabel/tests/data/example4d.nii.gz",
    "sha256:42097dfbab9d2a036b41ae5c97a359591cf2cf5c3f8dc6ca6455c0b8a7f22696",
    package=True,
)

_ENTRIES = (
    ImageInfo(
        name="chest_ct_lidc",
        channels=1,
        unit="patient (one: its slices are not independent)",
        licence="CC BY 3.0",
        origin="LIDC-IDRI (Armato et al. 2011), patient LIDC-IDRI-0001, from TCIA",
        credit="Chest CT: LIDC-IDRI-0001, The Cancer Imaging Archive, "
        "doi:10.7937/K9/TCIA.2015.LO9QL9SX (Armato et al. 2011); CC BY 3.0; slices averaged",
        collections=frozenset({TCIA}),
        files={64: _VOLUME, 128: _VOLUME, 256: _VOLUME, 512: _SLICES_512},
        value_unit="HU",
        value_range=(-1024.0, 3071.0),
        pixel_mm={size: 360 / size for size in (64, 128, 256, 512)},
    ),
    ImageInfo(
        name="chest_xray_lungs",
        channels=1,
        unit="patient (as the names of the source's files number them)",
        licence="CC BY 4.0",
        origin="Kermany, Zhang, Goldbaum 2018, doi:10.17632/rscbjbr9sj.2; masks of V7 Labs",
        credit="Chest X-rays with lung masks: Kermany, Zhang, Goldbaum 2018, "
        "doi:10.17632/rscbjbr9sj.2; masks V7 Labs; CC BY 4.0; made smaller",
        collections=frozenset({KERMANY}),
        files=dict.fromkeys((128, 256, 512), _XRAYS),
        value_unit="grey value",
        value_range=(0.0, 255.0),
        pixel_mm={},
    ),
    ImageInfo(
        name="fundus",
        channels=3,
        unit="eye (one)",
        licence="CC0 1.0",
        origin="Häggström 2014, doi:10.15347/wjm/2014.008, as packaged with scikit-image",
        credit="Fundus photograph: Häggström 2014, WikiJournal of Medicine 1 (2), "
        "doi:10.15347/wjm/2014.008, in scikit-image; CC0 1.0",
        collections=frozenset({"Häggström 2014"}),
        files=dict.fromkeys((128, 256, 512), _RETINA),
        value_unit="grey value",
        value_range=(0.0, 255.0),
        pixel_mm={},
    ),
    ImageInfo(
        name="mri_brain_slices",
        channels=1,
        unit="slice (six, each unlike the others; whose they are is not published)",
        licence="Apache-2.0",
        origin="ANTs example slices, data/r*slice.jpg of github.com/ANTsX/ANTsPy",
        credit="Brain slices: example images of ANTs, github.com/ANTsX/ANTsPy; Apache-2.0; "
        "made smaller",
        collections=frozenset({"ANTs example slices"}),
        files=dict.fromkeys((64, 128, 256), _SLICES),
        value_unit="grey value",
        value_range=(0.0, 255.0),
        pixel_mm={},
    ),
    ImageInfo(
        name="mri_brain_volume",
        channels=1,
        unit="person (one: the slices are not independent)",
        licence="MIT",
        origin="example4d.nii.gz of the tests of nibabel",
        credit="Brain volume: example4d.nii.gz, in nibabel (nipy.org/nibabel); MIT; "
        "first time point, made square",
        collections=frozenset({"nibabel example4d"}),
        files=dict.fromkeys((64, 128), _HEAD),
        value_unit="arbitrary unit",
        value_range=(0.0, 1162.0),
        pixel_mm={64: 4.0, 128: 2.0},
    ),
    ImageInfo(
        name="phase_contrast",
        channels=1,
        unit="field of view (one: planes and crops are not independent)",
        licence="Apache-2.0",
        origin="In Silico Labeling (Christiansen et al. 2018, doi:10.1016/j.cell.2018.03.040)",
        credit="Phase contrast of neurons: Christiansen et al. 2018, "
        "doi:10.1016/j.cell.2018.03.040, github.com/google/in-silico-labeling; Apache-2.0; crops",
        collections=frozenset({"In Silico Labeling 2018"}),
        files={256: _PHASE},
        value_unit="grey value",
        value_range=(0.0, 255.0),
        pixel_mm={},
    ),
)
IMAGES: dict[str, ImageInfo] = {entry.name: entry for entry in _ENTRIES}
