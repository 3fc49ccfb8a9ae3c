"""Min-SNR weights as case distinctions, the clean sample's from the noise's."""

import torch


def min_snr_noise_weight(snr, *, gamma=5):
    if gamma <= 0:
        raise ValueError("gamma > 0, please")
    return torch.where(snr > gamma, gamma / snr, torch.ones_like(snr))


def min_snr_x_start_weight(snr, *, gamma=5):
    noise_weight = min_snr_noise_weight(snr, gamma=gamma)
    return torch.where(noise_weight < 1, gamma, snr)


def min_snr_v_weight(snr, *, gamma=5):
    signal_left = 1 - 1 / (1 + snr)
    return min_snr_noise_weight(snr, gamma=gamma) * signal_left
