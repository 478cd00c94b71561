'''Image classification baseline (small CNN).'''
from __future__ import print_function
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import Subset, TensorDataset


class ConvNet(nn.Module):
    def __init__(self):
        super(ConvNet, self).__init__()
        self.c1 = nn.Conv2d(1, 16, 3)
        self.c2 = nn.Conv2d(16, 32, 3)
        self.drop = nn.Dropout(0.25)
        self.out = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x):
        x = F.relu(self.c1(x))
        x = F.max_pool2d(F.relu(self.c2(x)), 2)
        x = self.drop(torch.flatten(x, 1))
        return F.log_softmax(self.out(x), dim=1)


def train_epoch(args, net, device, loader, opt, epoch):
    net.train()
    for i, (img, lab) in enumerate(loader):
        img, lab = img.to(device), lab.to(device)
        opt.zero_grad()
        loss = F.nll_loss(net(img), lab)
        loss.backward()
        opt.step()
        if i % args.log_interval == 0:
            print('Train Epoch: {} [{}/{} ({:.0f}%)]\tLoss: {:.6f}'.format(
                epoch, i * len(img), len(loader.dataset), 100. * i / len(loader), loss.item()))
            if args.dry_run:
                break


def evaluate_net(net, device, loader):
    net.eval()
    total, hits = 0, 0
    with torch.no_grad():
        for img, lab in loader:
            img, lab = img.to(device), lab.to(device)
            out = net(img)
            total += F.nll_loss(out, lab, reduction='sum').item()
            hits += out.argmax(dim=1, keepdim=True).eq(lab.view_as(out.argmax(dim=1, keepdim=True))).sum().item()
    total /= len(loader.dataset)
    print('\nTest set: Average loss: {:.4f}, Accuracy: {}/{} ({:.0f}%)\n'.format(
        total, hits, len(loader.dataset), 100. * hits / len(loader.dataset)))


def main():
    p = argparse.ArgumentParser(description='digits')
    p.add_argument('--batch-size', type=int, default=64, metavar='N')
    p.add_argument('--test-batch-size', type=int, default=256, metavar='N')
    p.add_argument('--epochs', type=int, default=4, metavar='N')
    p.add_argument('--lr', type=float, default=1.0, metavar='LR')
    p.add_argument('--gamma', type=float, default=0.7, metavar='M')
    p.add_argument('--no-cuda', action='store_true', default=False)
    p.add_argument('--dry-run', action='store_true', default=False)
    p.add_argument('--seed', type=int, default=1, metavar='S')
    p.add_argument('--log-interval', type=int, default=10, metavar='N')
    p.add_argument('--save-model', action='store_true', default=False)
    args = p.parse_args()
    use_cuda = not args.no_cuda and torch.cuda.is_available()
    torch.manual_seed(args.seed)
    device = torch.device('cuda' if use_cuda else 'cpu')

    raw = load_digits()
    whole = TensorDataset(torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(raw.target))
    kw = {'num_workers': 1, 'pin_memory': True} if use_cuda else {}
    train_loader = torch.utils.data.DataLoader(Subset(whole, range(1400)), batch_size=args.batch_size, shuffle=True, **kw)
    test_loader = torch.utils.data.DataLoader(Subset(whole, range(1400, 1797)), batch_size=args.test_batch_size, **kw)

    net = ConvNet().to(device)
    opt = optim.Adadelta(net.parameters(), lr=args.lr)
    sched = StepLR(opt, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train_epoch(args, net, device, train_loader, opt, epoch)
        evaluate_net(net, device, test_loader)
        sched.step()
    if args.save_model:
        torch.save(net.state_dict(), 'digits_cnn.pt')


if __name__ == '__main__':
    main()
