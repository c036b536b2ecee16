"""torchvision's detectors as networks: against torchvision's own modules and operators in plain Python."""

from __future__ import annotations

import detection
import pytest
import torch
from striate_service.models.boxes import roi_align, suppressed
from striate_service.models.detectors import as_network
from striate_service.models.outputs import Boxes
from striate_service.techniques.outcomes import Refused
from striate_service.techniques.target_values import area_mean, chosen_box
from striate_service.techniques.targets import Area

_SIZE = torch.tensor([128.0, 96.0, 128.0, 96.0])


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_boxes_and_their_scores_are_torchvisions(name: str) -> None:
    detector = detection.make(name, classes=4)
    network = as_network(detector)
    assert network.state_dict().keys() == detector.state_dict().keys()
    inputs = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = network(inputs)
        expected = detection.find(detector, inputs[1:])
    exist = together.scores[1, :, 0] >= 0
    assert int(exist.sum()) == len(expected.logits) > 100
    corners = (together.corners[1] * _SIZE).expand(-1, 4, -1)
    ours = torch.cat([together.logits[1], together.scores[1], corners.flatten(1)], dim=1)[exist]
    theirs = torch.cat([expected.logits, expected.scores, expected.corners.flatten(1)], dim=1)
    distances = torch.cdist(theirs, ours)  # proposals of equal scores come in any order
    torch.testing.assert_close(ours[distances.argmin(1)], theirs, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(theirs[distances.argmin(0)], ours, rtol=1e-3, atol=1e-2)
    best = [float(expected.logits[number, 2]) for number in expected.ranked(2, float(together.overlap))[:3]]
    chosen = [float(together.logits[1, chosen_box(together, 1, 2, place), 2]) for place in range(3)]
    assert chosen == pytest.approx(best, rel=1e-3)
    assert expected.scores[:, 2].std() > 1e-3, "or any box would do"


def test_of_overlapping_boxes_the_best_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [5, 5, 6, 6], [0, 1, 4, 5], [5, 5, 6, 6.2]])
    assert suppressed(boxes, 0.5).tolist() == [0, 2]
    assert suppressed(boxes, 0.7).tolist() == [0, 2, 3]  # the last overlaps the third by 0.83
    assert suppressed(boxes[:0], 0.5).tolist() == []


def test_boxes_are_resampled_as_torchvision_does() -> None:
    maps = torch.randn(1, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0, 12, 9], [2.3, 1.1, 7.7, 8.2], [3, 3, 3.2, 3.1], [11, 8, 12, 9]])
    with detection.in_plain_python():
        from torchvision.ops import poolers

        expected = poolers.roi_align(maps, [boxes], (7, 7), 1.0, 2)
    torch.testing.assert_close(roi_align(maps[0], boxes, 7, 2), expected)


def test_an_area_asks_for_the_box_that_fits_it_best() -> None:
    corners = torch.tensor([[0.0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0.5, 0.5, 0.9, 0.88], [0.6, 0, 0.7, 0.1]])
    scores = torch.tensor([0.9, 0.7, 0.8, -1.0])
    boxes = Boxes(corners[None, :, None], torch.zeros(1, 4, 1), scores[None, :, None], torch.tensor(0.5))
    assert [chosen_box(boxes, 0, 0, place) for place in (0, 1)] == [0, 2]
    assert chosen_box(boxes, 0, 0, Area(top=0.5, left=0.5, bottom=1, right=1)) == 2, "a better one overlaps the other"
    assert chosen_box(boxes, 0, 0, Area(top=0.3, left=0, bottom=0.4, right=0.1)) == 0, "near, though apart"
    with pytest.raises(Refused) as refused:
        chosen_box(boxes, 0, 0, 2)
    assert "an image has 2 of that class" in refused.value.refusal.problem


def test_the_mean_over_an_area_counts_positions_by_their_share() -> None:
    maps = torch.arange(12.0).view(1, 3, 4)
    assert float(area_mean(maps, Area(0, 0, 1, 1))) == pytest.approx(5.5)
    assert float(area_mean(maps, Area(0, 0.25, 1 / 3, 0.5))) == pytest.approx(1)
    assert float(area_mean(maps, Area(0, 0.125, 1 / 3, 0.5))) == pytest.approx((0.5 * 0 + 1) / 1.5)
    assert float(area_mean(maps, Area(0.5, 0.5, 0.501, 0.501))) == pytest.approx(6)
