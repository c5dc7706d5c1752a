"""Two procedural hands, posed, rendered and labelled: joints -> surface -> picture and amodal label maps. May import
files and processes. Read scene.py first.

skeleton   angles within anatomical limits -> 21 joints in InterHand2.6M order
anatomy    signed distance of a hand in its rest pose, from its joints and thickness
template   that distance field meshed once per subject, skinned and labelled
surface    template + any 21 joints (generated or measured) -> posed, labelled mesh
camera     pinhole camera in millimetres and pixels
render     rays by embreex: label map of each hand alone, shaded picture of both
background studio, lights, cloth and torso behind the hands
scene      one frame: subject, pose, camera, light, background
dataset    the stream of encoded frames of a whole data set, in parallel
"""
