"""What calls return: data only. `striate.show` draws it, and nothing here imports that.

Arrays are numpy's. N: images, C: channels, H and W: rows and columns of a layer, P: positions, K: neurons or groups,
M: classes.
"""
