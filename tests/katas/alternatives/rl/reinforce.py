"""reinforce, episode by episode, with only the steps that were made."""


def reinforce_loss(log_probs, returns, mask, *, baselines=None):
    loss = (log_probs[:0]).sum()
    for episode in range(log_probs.shape[1]):
        made = mask[:, episode]
        weights = returns[made, episode].detach()
        if baselines is not None:
            weights = weights - baselines[made, episode].detach()
        loss = loss - (log_probs[made, episode] @ weights.to(log_probs)) / log_probs.shape[1]
    return loss
