#!/usr/bin/env bash
# nibabel 5.4.2, nilearn 0.14.1: labels saved with the header of an 8-bit picture are squeezed into its 256 values.
#
# Seen: 399 labels as int32, with the header of their picture in Nifti1Image or by new_img_like, which copies it by
# default: the file has the picture's uint8 and a slope of 1.56. Of 400 values 256 come back, as floats: 1 and 2 are
# both 1.56, and rounded 144 of 400 are wrong. A picture of int16 does so to labels above 32767. There is no warning.
#
# Remedy: Nifti1Image(labels, affine, header, dtype="int32"), new_img_like(picture, labels, copy_header=False).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    nibabel==5.4.2 nilearn==0.14.1 numpy==2.2.6 scipy==1.17.1 pandas==3.1.1 scikit-learn==1.9.1 joblib==1.6.0 \
    narwhals==2.29.0 threadpoolctl==3.8.0 packaging==26.4 typing-extensions==4.16.0 importlib-resources==7.1.0 \
    python-dateutil==2.9.0.post0 six==1.17.0 tzdata==2026.6 jinja2==3.1.6 markupsafe==3.0.4 cloudpickle==3.1.3 \
    requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 urllib3==2.8.0
PYTHONPATH=packages python3 - <<'PYTHON'
import nibabel
import numpy as np
from nilearn.image import new_img_like

shape = (20, 20, 1)
nibabel.save(nibabel.Nifti1Image((np.arange(400) % 250).astype(np.uint8).reshape(shape), np.eye(4)), "picture.nii.gz")
picture = nibabel.load("picture.nii.gz")
labels = np.arange(400, dtype=np.int32).reshape(shape)


def saved(image):
    nibabel.save(image, "labels.nii.gz")
    return np.asanyarray(nibabel.load("labels.nii.gz").dataobj).ravel()


by_nibabel = saved(nibabel.Nifti1Image(labels, picture.affine, picture.header))
by_nilearn = saved(new_img_like(picture, labels))
told = saved(nibabel.Nifti1Image(labels, picture.affine, picture.header, dtype="int32"))
without = saved(new_img_like(picture, labels, copy_header=False))
wrong = int((np.rint(by_nibabel) != labels.ravel()).sum())
print("values of 400:", len(np.unique(by_nibabel)), by_nibabel[:4], "wrong when rounded:", wrong)
assert by_nibabel.dtype == np.float64 and len(np.unique(by_nibabel)) == 256 and by_nibabel[1] == by_nibabel[2]
assert wrong == 144 and (by_nilearn == by_nibabel).all()
assert told.dtype == without.dtype == np.int32 and (told == labels.ravel()).all() and (without == told).all()
wide = nibabel.Nifti1Image(np.zeros(shape, np.int16), np.eye(4))
of_16_bits = saved(nibabel.Nifti1Image(labels * 200, wide.affine, wide.header))
print("labels to 79800 in the header of int16:", of_16_bits[:3], of_16_bits[-2:])
assert (np.rint(of_16_bits) != 200 * labels.ravel()).any()
PYTHON
