#!/usr/bin/env bash
# rt-utils 1.2.7: masks of pictures that are not square come back with height and width exchanged, and are cut off.
#
# Seen: a picture of 40 rows and 60 columns, an object with one part to the left and one of 10 x 20 pixels at columns 30
# to 49: get_roi_mask_by_name has the shape (60, 40), and 100 of the 300 pixels are gone, those from column 40 on.
# Positions of the rest are right. The DICOM file has all of it, and square pictures come back whole.
#
# Remedy: fill the picture up to a square, or draw the contours of the file with another program.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 rt-utils==1.2.7 pydicom==3.0.2 opencv-python-headless==5.0.0.93
PYTHONPATH=packages python3 -W ignore - <<'PYTHON'
import os

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rt_utils import RTStructBuilder

EMPTY = ("PatientName PatientID PatientBirthDate PatientSex PatientAge PatientWeight PatientSize StudyDate StudyTime "
         "StudyID StudyDescription SeriesDescription AccessionNumber ReferringPhysicianName Manufacturer").split()


def write_series(folder, height, width):
    os.makedirs(folder)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(3):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        for name in EMPTY:
            setattr(image, name, "")
        image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, index + 1
        image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 5 * index], [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [1, 1], 5
        image.Rows, image.Columns, image.SamplesPerPixel = height, width, 1
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PhotometricInterpretation = "MONOCHROME2"
        image.PixelData = bytes(2 * height * width)
        image.save_as(f"{folder}/{index}.dcm", enforce_file_format=True)


def there_and_back(height, width):
    folder = f"{height}x{width}"
    write_series(folder, height, width)
    mask = np.zeros((height, width, 3), bool)
    mask[5:15, 5:15, 1] = mask[20:30, 30:50, 1] = True
    struct = RTStructBuilder.create_new(dicom_series_path=folder)
    struct.add_roi(mask=mask, name="cell")
    struct.save("struct.dcm")
    again = RTStructBuilder.create_from(dicom_series_path=folder, rt_struct_path="struct.dcm")
    return mask, again.get_roi_mask_by_name("cell")


square, square_again = there_and_back(60, 60)
mask, again = there_and_back(40, 60)
print("written:", mask.shape, mask.sum(), "read:", again.shape, again.sum())
assert (square == square_again).all()
assert again.shape == (60, 40, 3) and (mask.sum(), again.sum()) == (300, 200)
assert (again[:40] == mask[:, :40]).all() and not again[40:].any()
PYTHON
